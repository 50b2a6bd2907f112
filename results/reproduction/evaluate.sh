#!/usr/bin/env bash
# Tries the networks of `plasticrl reproduce` where they were not trained, and with their trace tampered with:
# makes again, in OUT, the JSON files of maze_quick/interventions, images_quick/transfer and omniglot_quick/transfer.
#
#     bash results/reproduction/evaluate.sh DATA OUT
#
# DATA holds the official files of CIFAR-10 and Omniglot. To be started where `runs/reproduction` is; what OUT has
# already is kept.
set -euo pipefail
data=${1:?give the folder of the official data files}
out=${2:?give a folder for the JSON files}
runs=runs/reproduction
mkdir -p "$out"/maze_quick/interventions "$out"/{images,omniglot}_quick/transfer

evaluate() { # FILE RUN OPTIONS...
    [ -e "$out/$1.json" ] && return
    local told
    told=$(plasticrl evaluate "$runs/$2" --seed 5 --json "${@:3}")
    printf '%s\n' "$told" > "$out/$1.json"
}

elsewhere_in_the_maze() { # PREFIX RUN
    local file=maze_quick/interventions/$1 run=maze_quick/$2/seed_0
    local options=(--episodes 200)
    evaluate "${file}whole" "$run" "${options[@]}"
    for size in 7 11 13; do evaluate "${file}size_$size" "$run" "${options[@]}" --size $size; done
    for steps in 500 1000; do evaluate "${file}steps_$steps" "$run" "${options[@]}" --episode-length $steps; done
    evaluate "${file}iclr_maze" "$run" "${options[@]}" --env PlasticMazeICLR-v0
    evaluate "${file}moves_once" "$run" "${options[@]}" --relocate-every 125
    evaluate "${file}moves_4_times" "$run" "${options[@]}" --relocate-every 50
    for seed in 0 1 2 3; do evaluate "${file}layout_$seed" "$run" "${options[@]}" --layout-seed $seed; done
}
elsewhere_in_the_maze "" plastic/maze/plastic
elsewhere_in_the_maze lstm_ lstm/maze/lstm
elsewhere_in_the_maze recurrent_ppo_ recurrent_ppo/maze/recurrent_ppo
elsewhere_in_the_maze recurrent_ppo_fifth_ recurrent_ppo_fifth/maze/recurrent_ppo

lesion() { # FILE KIND STEP
    evaluate "maze_quick/interventions/$1" maze_quick/plastic/maze/plastic/seed_0 --episodes 200 \
        --lesion "$2" --lesion-step "$3"
}
lesion silenced_from_0 silenced 0
lesion silenced_from_125 silenced 125
lesion cleared_at_125 cleared 125
lesion frozen_from_125 frozen 125
lesion frozen_from_25 frozen 25

images() { # FILE OPTIONS...
    evaluate "images_quick/transfer/$1" images_quick/plastic/images/plastic/seed_0 --episodes 200 \
        --data-dir "$data" "${@:2}"
}
images own
images quarter --occlusion quarter
for percent in 50 80; do images pixels_$percent --occlusion pixels --share 0.$percent; done
for percent in 25 50; do images square_$percent --occlusion square --share 0.$percent; done
images omniglot --dataset omniglot

omniglot() { # FILE OPTIONS...
    evaluate "omniglot_quick/transfer/$1" omniglot_quick/plastic/omniglot/plastic/seed_0 --episodes 5000 \
        --data-dir "$data" "${@:2}"
}
omniglot own
for ways in 2 3; do omniglot n_way_$ways --n-way $ways; done
for shots in 2 5; do omniglot k_shot_$shots --k-shot $shots; done
omniglot n_way_3_k_shot_3 --n-way 3 --k-shot 3
