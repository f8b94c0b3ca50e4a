"""The one table of limits that decide what is an event, with the reason of each.

Lengths are for a leg of 0.8 m (hip to ankle, an adult of about 1.7 m) and grow with the leg (`Facts.size`); speeds grow
with its square root (dynamic similarity, Alexander 1989). Angles and seconds are as they are.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Metres, m/s, degrees, seconds, Hz."""

    # Smoothing. 20 fps has nothing above 10 Hz; generated motion jitters there.
    limb_smoothing: float = 0.05  # s: a punch lasts 0.3 s and must stay
    body_smoothing: float = 0.2  # s: takes out the sway of single steps
    heading_smoothing: float = 0.25  # s: the pelvis swings 5 to 10 degrees to and fro in every stride

    # Travelling
    travel_speed: float = 0.2  # m/s: "sssslow" walks of the real data go at 0.3; shifting weight stays below 0.2
    travel_least: float = 0.7  # s: about one step
    travel_distance: float = 0.3  # m: less is a shuffle on the spot
    sector: float = 50.0  # degrees off the facing direction that still are forward (and off its opposite: backward)
    run_speed: float = 2.15  # m/s: people change from walking to running at 1.9 to 2.2
    gait_change: float = 1.75  # m/s: from here on a run is told from a fast walk by its heels
    heel_rise: float = 0.215  # m that the ankle swings over where it stands: a walk 0.17, a jog 0.26
    jog_speed: float = 1.25  # m/s: as slow as a jog with flight phases gets
    jog_cadence: float = 2.45  # steps/s: a fast walk has 2.2, a jog 2.6 to 3
    turn_least: float = 30.0  # degrees: less is a glance, or the curve of a path that is called straight
    turn_reversal: float = 15.0  # degrees back that end a turn
    turn_pause: float = 0.8  # s without turning that part two turns
    turn_rate: float = 10.0  # degrees/s: slower is drift
    step_rise: float = 0.03  # m that the ankle lifts; a shuffling old walk still lifts 3 cm
    step_length: float = 0.1  # m that a foot is put elsewhere; less is a step on the spot

    # Leaving the ground
    contact: float = 0.035  # m above its lowest that a foot counts as standing; generated feet are 1 to 2 cm off
    flight_rise: float = 0.045  # m that the pelvis rises and falls in a jump; a walk bobs 2 to 4 cm
    together: float = 0.17  # s between the two feet leaving (and landing) in a jump; a run has 0.3
    leap_seconds: float = 0.4  # s in the air from one foot to the other; running strides fly 0.1 to 0.25

    # Legs
    kick_rise: float = 0.2  # m that the ankle of a stretched leg is over its standing height; a walk: 0.05 to 0.1
    kick_stretch: float = 0.8  # hip to ankle, share of the leg: below it is a raised knee
    kick_reach: float = 0.3  # m that the foot is away from under the hip
    kick_speed: float = 1.1  # m/s of the foot against the pelvis and upwards or outwards; below it a leg is lifted
    calm_knee: float = 1.25  # m/s of the pelvis: faster, knees rise by themselves
    knee_rise: float = 0.17  # m that the knee is over its standing height; a normal walk lifts 0.06 to 0.1

    # Low postures
    squat_drop: float = 0.17  # m of the pelvis: the dip before a jump is 0.1 to 0.2, walking low 0.1
    lunge_apart: float = 0.45  # m between the ankles, fore and aft
    lunge_aside: float = 0.66  # m between the ankles, sideways; a wide squat has 0.5
    low_speed: float = 0.4  # m/s of the pelvis: squats, lunges and bows are done in one place
    sit_drop: float = 0.22  # m: a bar stool; a chair is 0.35 to 0.45
    sit_behind: float = (
        0.17  # m of the pelvis behind the ankles; in a squat the body must be over the feet: 0.0 to 0.15
    )
    sit_stay: float = 0.45  # s at the lowest place
    kneel_knee: float = 0.2  # m of a knee joint over the floor; 0.48 standing, 0.3 in the deepest squat
    lie_head: float = 0.45  # m of the head over the floor
    bow_angle: float = 20.0  # degrees of the trunk forward: walking leans 5, sitting down 30 (there the pelvis drops)
    bow_drop: float = 0.2  # m that the pelvis may sink in a bow
    lean_angle: float = 14.0  # degrees sideways or backward
    low_hand: float = 0.38  # m of a wrist over the floor: the fingers touch it at 0.15 to 0.2, the shin at 0.35

    # Arms; reach is a share of the arm (shoulder to wrist, stretched)
    raise_least: float = 0.35  # s
    raise_margin: float = 0.02  # m over the shoulder: a hand that scratches the chin stays below
    overhead: float = 0.1  # m over the head joint, which is in the middle of the head
    straight_arm: float = 0.85  # reach
    arm_level: float = 0.45  # share of the arm that a hand held out may be above or below the shoulder
    wave_swing: float = 0.06  # m to one side
    wave_rate: tuple[float, float] = (0.6, 4.0)  # Hz
    clap_near: float = 0.26  # m between the wrists: palms touch at 0.08 to 0.2
    clap_open: float = 0.07  # m that they part in between
    punch_reach: float = 0.17  # share of the arm by which it shoots out
    punch_speed: float = 1.0  # m/s forward, of the wrist against the shoulder
    throw_speed: float = 1.8  # m/s, as above
    punch_stretch: float = 0.12  # share of the arm by which it straightens; a swinging or rising arm keeps its elbow
    punch_low: float = (
        0.45  # share of the arm that the fist may be below the shoulder: a swinging arm hangs 0.9 below it
    )
    circle_least: float = 0.85  # whole circles: the first and last part are lost where the hand starts and stops
    circle_reach: float = 0.7  # a bent arm boxes, stirs or pedals
    circle_speed: float = 0.35  # m/s that the wrist keeps all the way around; swinging to and fro it stops
    head_angle: float = 25.0  # degrees that the head turns against the shoulders
    nod_angle: float = 9.0  # degrees that the head goes down and up
    still_speed: float = 0.2  # m/s of hands, feet and head against the pelvis, and of the pelvis: generated
    # feet slide at 0.1 and generated joints tremble by a centimetre
    still_least: float = 0.6  # s


THRESHOLDS = Thresholds()
