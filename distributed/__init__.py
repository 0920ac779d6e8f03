"""What runs in many processes, from one expert's training to the stages of a whole run."""
