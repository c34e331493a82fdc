"""Right answers to the exercises of notebook 06, in other styles than the references."""

import math

import torch


def adamw_step(parameter, gradient, m, v, step, lr, beta1, beta2, eps, weight_decay):
    new_m = m + (1 - beta1) * (gradient - m)
    new_v = torch.lerp(v, gradient.square(), 1 - beta2)
    denominator = torch.sqrt(new_v / (1 - math.pow(beta2, step))) + eps
    change = new_m / (1 - math.pow(beta1, step)) / denominator + weight_decay * parameter
    return parameter - lr * change, new_m, new_v


def parameter_groups(model, weight_decay):
    decayed, others = [], []
    for _, parameter in model.named_parameters():
        (others if len(parameter.shape) == 1 else decayed).append(parameter)
    return [{"params": others, "weight_decay": 0}, {"params": decayed, "weight_decay": weight_decay}]


def learning_rate(iteration, max_iterations, warmup, max_rate, min_rate):
    if iteration >= warmup:
        angle = math.pi * (iteration - warmup) / (max_iterations - warmup)
        share = math.cos(angle / 2) ** 2
        return share * max_rate + (1 - share) * min_rate
    return (iteration + 1) * max_rate / (warmup + 1)


def accumulate(model, micro_batches):
    losses = torch.stack([model(x, y) for x, y in micro_batches])
    losses.mean().backward()
    return losses.mean().item()


def noise_left(count):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2000, count, 5, generator=generator)
    return (draws.mean(dim=1).std() / draws.std()).item()


def clip(gradients, max_norm):
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    if norm <= max_norm:
        return list(gradients)
    return [gradient / norm * max_norm for gradient in gradients]


def mend_loop(model, optimizer, batches, rates, max_norm):
    losses = []
    for step, batch in enumerate(batches):
        optimizer.zero_grad(set_to_none=False)
        loss = model(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(model.parameters()), max_norm)
        for group in optimizer.param_groups:
            group.update(lr=rates[step])
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
