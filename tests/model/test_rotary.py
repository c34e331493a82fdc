"""Rotary positions, against complex multiplication. See also tests/huggingface, where Llama has them."""

import torch

from tinyllm.model.rotary import rotary_table, rotate


@torch.no_grad()
def test_rotary_positions_are_a_multiplication_of_complex_numbers():
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    pairs = torch.complex(x[..., :4], x[..., 4:])
    for start in (0, 11):
        angles = torch.tensor([[(start + t) * 10_000 ** (-2 * i / 8) for i in range(4)] for t in range(5)])
        turned = pairs * torch.exp(1j * angles.double())
        expected = torch.cat([turned.real, turned.imag], dim=-1)
        rotated = rotate(x.transpose(1, 2), rotary_table(torch.arange(start, start + 5), 8)).transpose(1, 2)
        torch.testing.assert_close(rotated, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_rotated_queries_and_keys_know_only_how_far_apart_they_are():
    q, k = torch.randn(2, 1, 1, 12, 16, dtype=torch.float64)
    tables = [rotary_table(torch.arange(start, start + 12), 16) for start in (0, 100)]
    at = [[rotate(x.transpose(1, 2), table).transpose(1, 2) for x in (q, k)] for table in tables]
    products = [one @ other.mT for one, other in at]
    torch.testing.assert_close(products[0], products[1], rtol=1e-4, atol=1e-4)
    assert (products[0] - q @ k.mT).abs().max() > 0.1
