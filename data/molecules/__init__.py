"""What is known of a molecule: residues, beads, bonds, chains."""
