"""Gravity between a few bodies, step by step: every step needs the one before."""

from itertools import combinations
from math import sqrt

STEP = 0.001


def run(case):
    places = [list(body[0:3]) for body in case["bodies"]]
    speeds = [list(body[3:6]) for body in case["bodies"]]
    masses = [body[6] for body in case["bodies"]]
    bodies = list(zip(places, speeds))
    pairs = list(combinations(zip(places, speeds, masses), 2))
    for _ in range(case["steps"]):
        for ((ax, ay, az), v, a_mass), ((bx, by, bz), w, b_mass) in pairs:
            dx = ax - bx
            dy = ay - by
            dz = az - bz
            square = dx * dx + dy * dy + dz * dz
            pull = STEP / (square * sqrt(square))
            v[0] -= dx * b_mass * pull
            v[1] -= dy * b_mass * pull
            v[2] -= dz * b_mass * pull
            w[0] += dx * a_mass * pull
            w[1] += dy * a_mass * pull
            w[2] += dz * a_mass * pull
        for place, speed in bodies:
            place[0] += STEP * speed[0]
            place[1] += STEP * speed[1]
            place[2] += STEP * speed[2]
    return places
