"""Reinforcement learning: a policy learns to balance a pole on a cart from its reward alone.

The lecture: reinforcement learning maximises the reward. Nobody says which push was right; each step that the pole
stands gives a reward of 1, and an episode ends when it falls, or after 500 steps. REINFORCE plays some episodes, and
makes each action more likely by how much more reward followed it than was expected; what is expected, the baseline,
is a second network's guess (Williams, Simple statistical gradient-following algorithms, 1992). Look at the curve:
early on luck decides, then it climbs to 500 with setbacks, since every step changes the data that the next one learns
from.

Needs gymnasium: pip install "pydl-cpu[rl,plot]"
"""

import argparse
import os

import numpy as np

import pydl
from pydl import nn, optim, plot

try:
    import gymnasium
except ImportError as error:
    raise SystemExit(f'cartpole.py needs gymnasium ({error}): pip install "pydl-cpu[rl,plot]"') from None

GAMMA = 0.99  # a reward t steps later counts GAMMA^t


def make_network(outputs):
    """Return a small network of the state: position and speed of the cart, angle and angular speed of the pole."""
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, outputs))


def play(environment, policy, seed=None, *, greedy=False):
    """Play one episode; return its states and actions, and its reward, which is its length."""
    state, _ = environment.reset(seed=seed)
    states, actions, done = [], [], False
    while not done:
        with pydl.no_grad():
            scores = policy(pydl.tensor(state.reshape(1, 4)))
        action = scores.argmax(1) if greedy else pydl.multinomial(scores.softmax(1), 1)
        states.append(state)
        actions.append(action.item())
        state, _, fallen, timeout, _ = environment.step(actions[-1])
        done = fallen or timeout
    return states, actions, len(actions)


def returns_of(length):
    """Return for each step of an episode the rewards that follow, discounted: 1 + GAMMA + GAMMA^2 + ..."""
    return (1 - GAMMA ** np.arange(length, 0, -1)) / (1 - GAMMA)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the picture goes")
    parser.add_argument("--updates", type=int, default=80, help="of the policy (%(default)s)")
    parser.add_argument("--episodes", type=int, default=8, help="for each update (%(default)s)")
    parser.add_argument("--tests", type=int, default=100, help="episodes at the end (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    pydl.manual_seed(options.seed)
    environment = gymnasium.make("CartPole-v1")
    environment.reset(seed=options.seed)
    policy, baseline = make_network(2), make_network(1)
    optimizer = optim.Adam([*policy.parameters(), *baseline.parameters()], lr=0.01)
    scheduler = optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=options.updates)
    rewards = []
    for update in range(options.updates):
        episodes = [play(environment, policy) for _ in range(options.episodes)]
        states = pydl.tensor(np.concatenate([states for states, _, _ in episodes]))
        actions = pydl.tensor(np.concatenate([actions for _, actions, _ in episodes]))
        returns = pydl.tensor(np.concatenate([returns_of(n) for _, _, n in episodes]), dtype=pydl.float32)
        rewards += [reward for _, _, reward in episodes]

        expected = baseline(states).flatten() * 100
        advantage = (returns - expected).detach()
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
        log_probability = policy(states).log_softmax(1).gather(1, actions.unsqueeze(1)).flatten()
        loss = -(log_probability * advantage).mean() + ((returns - expected) / 100).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if (update + 1) % 10 == 0:
            print(f"update {update + 1}: mean reward of the last 80 episodes {np.mean(rewards[-80:]):.0f}")

    tests = [play(environment, policy, seed=1000 + number, greedy=True)[2] for number in range(options.tests)]
    mean = float(np.mean(tests))
    print(f"mean reward of {len(tests)} new episodes: {mean:.1f} (at 475 it counts as solved)")

    episodes = list(range(1, len(rewards) + 1))
    smooth = [float(np.mean(rewards[max(0, n - 50) : n])) for n in episodes]
    figure = plot.lines(
        {"an episode": (episodes, rewards), "mean of 50": (episodes, smooth)},
        xlabel="episode",
        heading="reward: steps until the pole falls, at most 500",
        colours=["#c5c9cf", plot.SERIES[0]],
    )
    path = plot.save(figure, os.path.join(options.out, "cartpole.png"))
    print(f"picture: {path}")
    return {"first": float(np.mean(rewards[:20])), "last": float(np.mean(rewards[-20:])), "mean": mean}


if __name__ == "__main__":
    main()
