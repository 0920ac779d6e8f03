"""The mathematics: pure JAX functions of arrays and parameter trees."""
