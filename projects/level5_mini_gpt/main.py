"""A small GPT as a language model of one book.

    python -m projects.level5_mini_gpt.main --workdir=runs/gpt
    python -m projects.level5_mini_gpt.main --workdir=runs/bpe --config.tokenizer=bpe
    python -m projects.level5_mini_gpt.main --workdir=runs/nano --config=shakespeare --data_dir=DATA
    python -m projects.level5_mini_gpt.main --workdir=runs/better --config=better --data_dir=DATA --seeds=3
    python -m projects.level5_mini_gpt.main --workdir=runs/try --config=smoke --strategy=mesh --host_devices=2
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level5_mini_gpt')
