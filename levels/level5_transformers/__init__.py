"""Level 5, Transformers and attention: scaled dot-product and multi-head attention, layer norm, GPT.

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component. Decoding in whole
(`decode.generate`), fine-tuning by adapters in whole (`lora.lora_task`), weights (`gpt_weights`) and tokenisers
(`tokenizers`) are of no kind and have no row.
"""

from levels import Member

_HERE = 'levels.level5_transformers'
_ATTENTION = 'Vaswani et al. 2017, Attention is all you need'

DONE = ('Layer Normalization', 'GPT Family')     # topics whose definition of done is met, tests and all

MEMBERS = (
    Member(
        name='scaled_dot_product_attention',
        kind='op',
        import_path=f'{_HERE}.attention.scaled_dot_product_attention',
        level=5,
        topic='Scaled Dot-Product Attention',
        oracle='torch.nn.functional.scaled_dot_product_attention, jax.nn.dot_product_attention',
        paper=_ATTENTION,
    ),
    Member(
        name='MultiHeadAttention',
        kind='linen module',
        import_path=f'{_HERE}.attention.MultiHeadAttention',
        level=5,
        topic='Multi-Head Attention',
        oracle='torch.nn.MultiheadAttention',
        paper=_ATTENTION,
    ),
    Member(
        name='LayerNorm',
        kind='linen module',
        import_path=f'{_HERE}.layer_norm.LayerNorm',
        level=5,
        topic='Layer Normalization',
        oracle='torch.nn.LayerNorm',
        paper='Ba, Kiros, Hinton 2016, Layer normalization',
    ),
    Member(
        name='RMSNorm',
        kind='linen module',
        import_path=f'{_HERE}.layer_norm.RMSNorm',
        level=5,
        topic='Layer Normalization',
        oracle='torch.nn.RMSNorm',
        paper='Zhang, Sennrich 2019, Root mean square layer normalization',
    ),
    Member(
        name='GPT',
        kind='linen module',
        import_path=f'{_HERE}.gpt.GPT',
        level=5,
        topic='GPT Family',
        oracle='transformers.GPT2LMHeadModel',
        paper='Radford et al. 2019, Language models are unsupervised multitask learners',
    ),
    Member(
        name='filter_logits',
        kind='op',
        import_path=f'{_HERE}.decode.filter_logits',
        level=5,
        topic='GPT Family',
        oracle='transformers.TopKLogitsWarper, TopPLogitsWarper, MinPLogitsWarper',
        paper='Holtzman et al. 2020, The curious case of neural text degeneration',
    ),
    Member(
        name='repetition_penalty',
        kind='op',
        import_path=f'{_HERE}.decode.repetition_penalty',
        level=5,
        topic='GPT Family',
        oracle='transformers.RepetitionPenaltyLogitsProcessor',
        paper='Keskar et al. 2019, CTRL: a conditional transformer language model for controllable generation',
    ),
    Member(
        name='beam_search',
        kind='op',
        import_path=f'{_HERE}.beam_search.beam_search',
        level=5,
        topic='GPT Family',
        oracle='transformers.GPT2LMHeadModel',
        paper='Sutskever, Vinyals, Le 2014, Sequence to sequence learning with neural networks',
    ),
    Member(
        name='lora_init',
        kind='op',
        import_path=f'{_HERE}.lora.lora_init',
        level=5,
        topic='GPT Family',
        oracle='its definition: shapes, spread, and that nothing is added',
        paper='Hu et al. 2021, LoRA: low-rank adaptation of large language models',
    ),
    Member(
        name='lora_merge',
        kind='op',
        import_path=f'{_HERE}.lora.lora_merge',
        level=5,
        topic='GPT Family',
        oracle='torch, x W + s (x A) B by hooks in transformers.GPT2LMHeadModel',
        paper='Hu et al. 2021, LoRA: low-rank adaptation of large language models',
    ),
)
