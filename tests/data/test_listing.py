"""Which files make up a set: folders of any case and depth, manifests, machine types, splits and objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from longexposure.data.listing import list_pairs, take_of
from longexposure.data.splits import draw_groups, partition
from longexposure.errors import InputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def both(root: Path, folder: str, *names: str) -> None:
    for name in names:
        touch(root, f"{folder}/LQ/{name}.tif", f"{folder}/HQ/{name}.tif")


def facts(path: Path) -> list[tuple[str, str, str | None]]:
    return [(pair.name, pair.machine, pair.split) for pair in list_pairs(path).pairs]


def test_the_folder_above_lq_is_the_machine_type_and_train_or_test_the_split(tmp_path: Path) -> None:
    both(tmp_path, "S1/train", "a")
    both(tmp_path, "test/S2", "b")
    both(tmp_path, "S3", "c")
    assert facts(tmp_path) == [
        ("S1/train/a", "S1", "train"),
        ("S3/c", "S3", None),
        ("test/S2/b", "S2", "test"),
    ]


def test_a_folder_that_is_itself_machine_type_or_split_tells_by_its_own_name(tmp_path: Path) -> None:
    both(tmp_path / "S1", "test", "a")
    both(tmp_path, "S2", "b")
    assert facts(tmp_path / "S1") == [("test/a", "S1", "test")]
    assert facts(tmp_path / "S1" / "test") == [("a", "S1", "test")]
    assert facts(tmp_path / "S2") == [("b", "S2", None)]


def test_any_case_of_the_folders_is_found_and_two_of_one_name_are_a_problem(tmp_path: Path) -> None:
    touch(tmp_path, "S1/Train/lq/a.tif", "S1/Train/hQ/a.png")
    assert facts(tmp_path) == [("S1/Train/a", "S1", "train")]
    touch(tmp_path, "S1/Train/LQ/b.tif")
    if len(list((tmp_path / "S1/Train").iterdir())) == 3:  # the disk knows upper and lower case
        assert any("upper and lower case" in problem.text for problem in list_pairs(tmp_path).problems)


def test_a_split_without_images_is_a_problem(tmp_path: Path) -> None:
    both(tmp_path, "S1/train", "a")
    for part in ("LQ", "HQ"):
        (tmp_path / "S1" / "test" / part).mkdir(parents=True)
    problems = list_pairs(tmp_path).problems
    assert [(problem.kind, problem.text) for problem in problems] == [
        ("split", "S1/test: LQ and HQ hold no images")
    ]
    assert not list_pairs(tmp_path, include=["*/train/*"]).problems


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("board3_view07", ("board3", "word")),
        ("board3-Frame 7", ("board3", "word")),
        ("board3_07", ("board3", "number")),
        ("12_03", ("12", "number")),
        ("preview7", ("preview", "number")),
        ("00017", ("", "")),
        ("chip", ("", "")),
    ],
)
def test_the_part_of_a_name_before_the_view_is_the_object(stem: str, expected: tuple[str, str]) -> None:
    assert take_of(stem) == expected


def test_views_share_an_object_and_numbered_images_of_one_series_do_not(tmp_path: Path) -> None:
    both(tmp_path, "S1", "b1_view1", "b1_view2", "b2_view1")
    both(tmp_path, "S2", "img_001", "img_002", "img_003")
    both(tmp_path, "S3", "00001", "00002")
    objects = {pair.name: pair.object for pair in list_pairs(tmp_path).pairs}
    assert objects["S1/b1_view1"] == objects["S1/b1_view2"] == "b1"
    assert objects["S1/b2_view1"] == "b2"
    assert len({objects[name] for name in objects if not name.startswith("S1")}) == 5


def test_folders_below_lq_are_objects_when_there_are_several(tmp_path: Path) -> None:
    both(tmp_path, "S1", "board1/1", "board1/2", "board2/1")
    assert [pair.object for pair in list_pairs(tmp_path).pairs] == ["board1", "board1", "board2"]


def test_a_manifest_names_files_machine_type_split_object_and_times(tmp_path: Path) -> None:
    touch(tmp_path, "x/short.tif", "y/long.tif", "S2/test/LQ/k.tif", "S2/test/HQ/k.tif")
    (tmp_path / "set.csv").write_text(
        "LQ;HQ;Type;Split;Object;lq_s;hq_s;note\n"
        "x/short.tif;y/long.tif;S1;Training;b7;5;90;good\n"
        "S2/test/LQ/k.tif;S2/test/HQ/k.tif;;;;;;\n"
    )
    first, second = list_pairs(tmp_path / "set.csv").pairs
    assert (first.machine, first.split, first.object, first.proof) == ("S1", "train", "b7", "manifest")
    assert (first.lq, first.hq, first.exposures_s) == (
        tmp_path / "x/short.tif",
        tmp_path / "y/long.tif",
        (5.0, 90.0),
    )
    assert (second.name, second.machine, second.split) == ("S2/test/k", "S2", "test")


def test_toml_says_the_same_as_csv_and_a_manifest_in_the_folder_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "LQ/a.tif", "HQ/a.tif", "LQ/unlisted.tif")
    (tmp_path / "manifest.toml").write_text(
        '[[pairs]]\nlq = "LQ/a.tif"\nhq = "HQ/a.tif"\nmachine = "S1"\nsplit = "test"\n'
    )
    listing = list_pairs(tmp_path)
    assert not listing.problems
    assert facts(tmp_path) == [("a", "S1", "test")] == facts(tmp_path / "manifest.toml")


def test_every_fault_of_a_manifest_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "LQ/a.tif", "HQ/a.tif")
    (tmp_path / "m.csv").write_text(
        "lq,hq,split,lq_s\nLQ/a.tif,HQ/a.tif,,\nLQ/a.tif,HQ/a.tif,,\nLQ/none.tif,HQ/a.tif,exam,-1\n,HQ/a.tif,,\n"
    )
    listing = list_pairs(tmp_path / "m.csv")
    assert len(listing.pairs) == 1
    text = "; ".join(problem.text for problem in listing.problems)
    for part in (
        "pair 2: a pair named a is listed already",
        "pair 3: lq file LQ/none.tif does not exist",
        "pair 3: split 'exam' is none of",
        "pair 3: lq_s '-1' is no number of seconds",
        "pair 4: no lq file is named",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lq,hq,spilt\n", "'spilt'.*call it 'split'"),
        ("short,long\na,b\n", "columns lq and hq"),
        ("", "columns lq and hq"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a", "b")
    body = text + "a,b,train\n" if "spilt" in text else text
    (tmp_path / "m.csv").write_text(body)
    with pytest.raises(InputError, match=message):
        list_pairs(tmp_path / "m.csv")


def test_damaged_toml_and_two_manifests_are_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text("[[pairs]\n")
    with pytest.raises(InputError, match="a manifest, CSV or TOML"):
        list_pairs(tmp_path)
    (tmp_path / "manifest.csv").write_text("lq,hq\n")
    with pytest.raises(InputError, match="one manifest"):
        list_pairs(tmp_path)


def test_groups_are_never_torn_and_the_fraction_is_met_as_far_as_they_allow() -> None:
    groups = [f"g{index // 4}" for index in range(100)]
    for seed in range(20):
        drawn = draw_groups(groups, 0.2, seed=seed)
        assert len(drawn) == 20
        assert {groups[index] for index in drawn}.isdisjoint(
            groups[index] for index in range(100) if index not in drawn
        )
    assert draw_groups(groups, 0.2, seed=1) == draw_groups(groups, 0.2, seed=1)
    assert len({frozenset(draw_groups(groups, 0.2, seed=seed)) for seed in range(9)}) > 5


def test_one_group_cannot_be_drawn_from() -> None:
    with pytest.raises(ValueError, match="two groups"):
        draw_groups(["a", "a"], 0.5, seed=0)


def test_undeclared_sets_are_split_by_the_fractions_of_the_paper(tmp_path: Path) -> None:
    for machine in ("S1", "S2", "other"):
        both(tmp_path, machine, *(f"{index:03}" for index in range(50)))
    parts = partition(list_pairs(tmp_path).pairs, seed=3)
    counts = {
        machine: sum(pair.machine == machine for pair in parts["test"]) for machine in ("S1", "S2", "other")
    }
    assert counts == {"S1": 10, "S2": 5, "other": 10}
    assert len(parts["train"]) + len(parts["test"]) == 150


def test_a_declared_split_is_kept_and_the_undeclared_rest_trains(tmp_path: Path) -> None:
    both(tmp_path, "S1/test", "a")
    both(tmp_path, "S1", "b")
    parts = partition(list_pairs(tmp_path).pairs)
    assert [pair.name for pair in parts["test"]] == ["S1/test/a"]
    assert [pair.name for pair in parts["train"]] == ["S1/b"]
