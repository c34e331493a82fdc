"""Right answers to the exercises of notebook 11, in other styles than the references."""

import torch


def too_good(patient):
    return ["leaky mask", "targets not shifted", "leaking split"][patient - 1]


def leaked_share(copies, held_out):
    clean = 1.0
    for _ in range(copies - 1):
        clean *= held_out
    return 1 - clean


def hardly_learns(patient):
    if patient == 4:
        return "rate too high"
    return "no zero_grad" if patient == 5 else "attention not scaled"


def one_step(model, optimizer, x, targets):
    log_p = model(x).log_softmax(dim=-1)
    kept = targets != -100
    loss = -log_p[kept].gather(1, targets[kept, None]).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def looks_healthy(patient):
    return dict(zip((7, 8, 9), ("frozen layers", "head copied", "dropout at evaluation"), strict=True))[patient]


def mean_loss(losses):
    flat = [loss for part in losses for loss in part]
    return torch.tensor(flat, dtype=torch.float64).mean()


def mend_evaluation(model, batches):
    mode = model.training
    model.train(False)
    losses = [
        torch.nn.functional.cross_entropy(model(ids).transpose(1, 2), targets, reduction="none")
        for ids, targets in batches
    ]
    model.train(mode)
    kept = torch.cat([targets.flatten() for _, targets in batches]) != -100
    return (torch.cat([loss.flatten() for loss in losses]).sum() / kept.sum()).item()


def odd_numbers(patient):
    match patient:
        case 10:
            return "mean of means"
        case 11:
            return "weights drawn too large"
    return "wrong positions in the cache"
