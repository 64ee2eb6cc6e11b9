"""The forces on CarRacing's wheels in less Python: the same numbers in the same order, to the last bit.

Gymnasium computes with numpy's scalars and asks Box2D for two directions where one gives both. Here the numbers are
Python's floats, of the same double precision. Traces of skidding, which only videos show, are left out.
"""

from __future__ import annotations

import math

from gymnasium.envs.box2d.car_dynamics import ENGINE_POWER, FRICTION_LIMIT, SIZE, WHEEL_MOMENT_OF_INERTIA, Car

_STIFFNESS = 205000 * SIZE * SIZE
_LIMIT_ON_GRASS = FRICTION_LIMIT * 0.6
_BRAKE = 15  # radians per second


def control(car: Car, steering: float, gas: float, brake: float) -> None:
    """What Gymnasium's ``steer``, ``gas`` and ``brake`` do.

    Args:
        car: changed.
        steering: from -1, left, to 1.
        gas: from 0 to 1.
        brake: from 0 to 1.
    """
    front_left, front_right, *driven = car.wheels
    front_left.steer = front_right.steer = -steering
    gas = min(max(gas, 0.0), 1.0)
    for wheel in driven:
        wheel.gas += min(gas - wheel.gas, 0.1)
    for wheel in car.wheels:
        wheel.brake = brake


def push(car: Car, dt: float) -> None:
    """What Gymnasium's ``Car.step`` does in a frame of ``dt`` seconds; all tiles have a friction of 1."""
    for wheel in car.wheels:
        joint = wheel.joint
        turn = wheel.steer - joint.angle
        joint.motorSpeed = math.copysign(min(50.0 * abs(turn), 3.0), turn)
        side = wheel.GetWorldVector((1, 0))
        cos, sin = side.x, side.y  # forward is (-sin, cos)
        velocity = wheel.linearVelocity
        x, y = velocity.x, velocity.y
        omega, gas, brake = wheel.omega, wheel.gas, wheel.brake
        if gas:
            omega += dt * ENGINE_POWER * gas / WHEEL_MOMENT_OF_INERTIA / (abs(omega) + 5.0)
        if brake >= 0.9:
            omega = 0.0
        elif brake > 0:
            omega -= math.copysign(min(_BRAKE * brake, abs(omega)), omega)
        wheel.phase += omega * dt
        forward = (sin * x - cos * y + omega * wheel.wheel_rad) * _STIFFNESS
        sideways = -(cos * x + sin * y) * _STIFFNESS
        force = math.sqrt(forward * forward + sideways * sideways)
        limit = FRICTION_LIMIT if wheel.tiles else _LIMIT_ON_GRASS
        if force > limit:
            forward, sideways = forward / force * limit, sideways / force * limit
        wheel.omega = omega - dt * forward * wheel.wheel_rad / WHEEL_MOMENT_OF_INERTIA
        wheel.ApplyForceToCenter((sideways * cos - forward * sin, sideways * sin + forward * cos), True)
