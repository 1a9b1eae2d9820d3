"""Tables of key poses of the motions; see `pose` for the angles, in degrees."""

ARMS = (  # poses of an arm, independent of the rest of the body
    dict(arm_flexion=4, arm_abduction=7, elbow=14),
    dict(arm_flexion=4, arm_abduction=7, elbow=14),
    dict(arm_flexion=-25, arm_abduction=48, arm_rotation=-35, elbow=100),  # hand on the hip
    dict(arm_flexion=-12, arm_abduction=16, arm_rotation=-15, elbow=40),  # hand in the pocket
    dict(arm_flexion=38, arm_abduction=4, arm_rotation=-25, elbow=92),  # holding something
    dict(arm_flexion=48, arm_abduction=14, arm_rotation=-10, elbow=138),  # hand at the ear
    dict(arm_flexion=22, arm_abduction=4, arm_rotation=-62, elbow=98),  # across the belly
    dict(arm_flexion=10, arm_abduction=92, arm_rotation=78, elbow=75),  # waving
    dict(arm_flexion=165, arm_abduction=8, elbow=12),  # straight up
    dict(arm_flexion=0, arm_abduction=88, elbow=6),  # sideways
    dict(arm_flexion=86, arm_abduction=6, elbow=8),  # pointing forward
    dict(arm_flexion=25, arm_abduction=125, arm_rotation=60, elbow=125),  # behind the head
)

SEATS = (
    dict(hip_flexion=92, knee=92, spine_flexion=5),
    dict(hip_flexion=80, knee=95, spine_flexion=15, pitch=-14),  # leaning back
    dict(hip_flexion=105, knee=95, spine_flexion=25, pitch=18),  # leaning forward
    dict(hip_flexion=92, knee=88, hip_abduction=22, hip_rotation=20),  # knees apart
    dict(hip_flexion=85, knee=55, pitch=-12),  # legs stretched out
    dict(hip_flexion=100, knee=110, spine_flexion=12),
)

POSES = {  # for "extreme": feet, seat, hands or back on the floor
    "squat": (dict(hip_flexion=105, knee=125, ankle=25, pitch=28, spine_flexion=15,
                   hip_abduction=15, hip_rotation=15),),
    "crouch": (dict(hip_flexion=118, knee=138, ankle=22, pitch=32, spine_flexion=35,
                    neck_flexion=15, arm_flexion=60, elbow=80),),
    "bend": (dict(pitch=62, spine_flexion=60, hip_flexion=62, knee=8, arm_flexion=75, elbow=5),
             dict(pitch=40, spine_flexion=70, hip_flexion=55, knee=30, ankle=10, arm_flexion=60)),
    "kick": (dict(hip_flexion_l=95, knee_l=8, pitch=-12, spine_flexion=12, hip_flexion_r=-8,
                  knee_r=8, arm_flexion_r=60, arm_abduction_l=60),
             dict(hip_abduction_l=58, roll=18, knee_l=5, arm_abduction=60, elbow=30),
             dict(hip_flexion_l=-25, knee_l=60, pitch=25, hip_flexion_r=30, arm_flexion=90)),
    "lunge": (dict(hip_flexion_l=88, knee_l=92, hip_flexion_r=-18, knee_r=45, ankle_r=15),
              dict(hip_flexion_l=80, knee_l=85, hip_flexion_r=-20, knee_r=20, pitch=12,
                   arm_flexion=165)),
    "kneel": (dict(hip_flexion_l=85, knee_l=90, hip_flexion_r=0, knee_r=95, ankle_r=-10),
              dict(hip_flexion=10, knee=105, ankle=-35, spine_flexion=10),
              dict(hip_flexion=85, knee=140, ankle=-40, pitch=35, spine_flexion=40)),
    "overhead": (dict(arm_flexion=170, arm_abduction=12, spine_flexion=-15, pitch=-4),
                 dict(arm_abduction=150, arm_rotation=30, hip_abduction=25),
                 dict(arm_flexion=175, spine_bend=28, hip_abduction=12)),
    "star": (dict(arm_abduction=125, hip_abduction=32),),
    "sit on the floor": (dict(hip_flexion=88, knee=8, pitch=-6, arm_flexion=20),
                         dict(hip_flexion=105, hip_abduction=45, hip_rotation=45, knee=125),
                         dict(hip_flexion=115, knee=105, pitch=-12, arm_flexion=75, elbow=20)),
    "lie": (dict(pitch=-88, arm_abduction=25),
            dict(pitch=-88, hip_flexion=45, knee=90, arm_flexion=160),
            dict(pitch=88, arm_flexion=150, elbow=60, neck_twist=45),
            dict(roll=86, hip_flexion=45, knee=60, arm_flexion=70, elbow=60, spine_flexion=20)),
    "on all fours": (dict(pitch=85, hip_flexion=85, knee=92, arm_flexion=88, neck_flexion=-30,
                          ankle=-35),
                     dict(pitch=72, arm_flexion=75, neck_flexion=-20, ankle=15),
                     dict(pitch=105, hip_flexion=80, knee=5, arm_flexion=150)),
}  # fmt: skip

# One leg's stride, from heel contact: fraction of the cycle -> degrees. Based on textbook curves of
# able-bodied adults (D. Winter, "The Biomechanics and Motor Control of Human Gait"), with the toes
# lifted slightly more in the swing so that the mannequin's feet clear the floor.
WALK = {
    "hip_flexion": ((0, 30), (0.1, 25), (0.2, 15), (0.3, 5), (0.4, -4), (0.5, -10), (0.6, -5),
                    (0.7, 12), (0.8, 26), (0.9, 32)),
    "knee": ((0, 5), (0.07, 11), (0.15, 14), (0.25, 10), (0.4, 5), (0.5, 9), (0.6, 34), (0.72, 65),
             (0.8, 56), (0.9, 22), (0.97, 4)),
    "ankle": ((0, 0), (0.07, -6), (0.2, 3), (0.3, 7), (0.45, 11), (0.5, 8), (0.56, -3), (0.63, -13),
              (0.7, 2), (0.8, 10), (0.9, 6)),
}  # fmt: skip
RUN = {
    "hip_flexion": ((0, 35), (0.1, 28), (0.2, 12), (0.35, -8), (0.45, -8), (0.6, 15), (0.75, 40),
                    (0.85, 47), (0.93, 42)),
    "knee": ((0, 18), (0.13, 40), (0.25, 28), (0.35, 18), (0.5, 60), (0.65, 100), (0.75, 92),
             (0.9, 38), (0.96, 20)),
    "ankle": ((0, 8), (0.15, 24), (0.26, 8), (0.37, -22), (0.5, -8), (0.65, 0), (0.85, 4)),
}  # fmt: skip
