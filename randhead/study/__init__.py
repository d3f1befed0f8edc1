"""Studies: arms that differ in their heads, trained with equal seeds, compared with intervals; claims get verdicts."""
