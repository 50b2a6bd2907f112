#!/usr/bin/env bash
# Tries the networks of `plasticrl reproduce` where they were not trained, and with their trace tampered with:
# makes again, in OUT, WHAT_WAS_TRIED/seed_K.json for each network of a condition, in maze_quick/transfer and
# maze_quick/lesions, images_quick/transfer and omniglot_quick/transfer.
#
#     bash results/reproduction/evaluate.sh DATA OUT
#
# DATA holds the official files of CIFAR-10 and Omniglot. To be started where `runs/reproduction` is, with plasticrl
# on the PATH. What OUT has already is kept: delete what is to be made anew. Runs that are not finished are passed over.
set -euo pipefail

refuse() { echo "evaluate.sh: $1" >&2; exit 2; }

[ $# = 2 ] || refuse "give DATA, the folder of the official data files, and OUT, a folder for the JSON files"
data=$1 out=$2 runs=runs/reproduction
[ -d "$data" ] || refuse "there is no folder $data"
[ -d "$runs" ] || refuse "there is no folder $runs here: plasticrl reproduce makes it"
command -v plasticrl > /dev/null || refuse "plasticrl is not on the PATH: activate its environment"

evaluate() { # NETWORKS FOLDER RUNS OPTIONS...
    local seed run file
    for ((seed = 0; seed < $1; seed++)); do
        run=$runs/$3/seed_$seed file=$out/$2/seed_$seed.json
        [ -e "$file" ] && continue
        [ -e "$run/result.json" ] || { echo "not finished: $run" >&2; continue; }
        echo "$file" >&2
        mkdir -p "$out/$2"
        plasticrl evaluate "$run" --seed 5 --json "${@:4}" > "$file.part"
        mv "$file.part" "$file"
    done
}

in_the_maze() { # CONDITION CORE NAME OPTIONS...
    evaluate 5 "maze_quick/transfer/$1/$3" "maze_quick/$1/maze/$2" --episodes 200 "${@:4}"
}
elsewhere() { # CONDITION CORE
    local size steps layout
    in_the_maze "$@" own
    for size in 7 11 13; do in_the_maze "$@" size_$size --size $size; done
    for steps in 500 1000; do in_the_maze "$@" steps_$steps --episode-length $steps; done
    in_the_maze "$@" iclr_maze --env PlasticMazeICLR-v0
    in_the_maze "$@" moves_once --relocate-every 125
    in_the_maze "$@" moves_4_times --relocate-every 50
    for layout in 0 1 2 3; do in_the_maze "$@" layout_$layout --layout-seed $layout; done
}
for core in plastic homogeneous rnn lstm; do elsewhere $core $core; done
elsewhere lstm_small lstm
for condition in recurrent_ppo recurrent_ppo_fifth; do elsewhere $condition recurrent_ppo; done

lesion() { # NAME KIND STEP
    evaluate 5 "maze_quick/lesions/$1" maze_quick/plastic/maze/plastic --episodes 200 --lesion "$2" --lesion-step "$3"
}
lesion silenced_from_0 silenced 0
lesion silenced_from_125 silenced 125
lesion cleared_at_125 cleared 125
lesion frozen_from_125 frozen 125
lesion frozen_from_25 frozen 25

images() { # NAME OPTIONS...
    evaluate 3 "images_quick/transfer/$1" images_quick/plastic/images/plastic --episodes 200 --data-dir "$data" "${@:2}"
}
images own
images quarter --occlusion quarter
for percent in 50 80; do images pixels_$percent --occlusion pixels --share 0.$percent; done
for percent in 25 50; do images square_$percent --occlusion square --share 0.$percent; done
images omniglot --dataset omniglot

omniglot() { # CONDITION NAME OPTIONS...
    local run=omniglot_quick/$1/omniglot/plastic
    evaluate 3 "omniglot_quick/transfer/$1/$2" "$run" --episodes 5000 --data-dir "$data" "${@:3}"
}
for condition in plastic batch_norm; do
    omniglot $condition own
    omniglot $condition n_way_20 --n-way 20
    omniglot $condition k_shot_5 --k-shot 5
done
