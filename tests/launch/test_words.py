import pytest

from fokker.launch.words import joined, split


@pytest.mark.parametrize(
    "typed",
    [
        ["mueller-brown", "--name", "mine", "--train.batch-size", "64"],
        ["--shift", "-0.5", "--skip-damaged", "PATH", "--force"],
        ["--data", "a=b c", "--data.skip-damaged", "false"],
    ],
)
def test_words_handed_on_mean_what_was_typed(typed: list[str]):
    words, options = split(typed)
    assert split(joined(words, options)) == (words, options)
