"""The lesion head of every preset. The published method has none; whoever trains one on its maps gets this one."""

from nnanomaly.plans import HeadPlan, TrainingPlan

HEAD_PLAN = HeadPlan(
    widths=(16, 32, 64, 128),  # planned
    augmentation=True,
    training=TrainingPlan(
        num_iterations=20_000,
        batch_size=4,  # at most; planned
        learning_rate=1e-3,
        weight_decay=1e-4,
        warmup_iterations=200,
        decay="cosine",
        gradient_clip=1.0,
        ema_decay=0.999,
        precision="bf16",
    ),
)
HEAD_REASONS = {
    "head.blocks_per_level": "the lesion head has to be smaller than the models whose errors it learns",
    "head.variants_per_patch": "each healthy patch is reconstructed so often with other lesions in it",
    "head.augmentation": "as nnU-Net varies its patches; without it healthy validation kidneys showed twice the false "
    "lesions",
    "head.training.num_iterations": "at a batch of 4, two to three thousand healthy organs are seen thirty times",
    "head.training.learning_rate": "usual for AdamW with instance norm",
    "head.training.weight_decay": "slight: there are always other lesions to see",
    "head.training.warmup_iterations": "one per cent of the training",
    "head.training.gradient_clip": "against single batches of nothing but noise",
    "head.training.ema_decay": "averages over about 1000 steps",
}
