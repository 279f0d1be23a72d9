"""Updates of agents while they train: kept in a few rows, and watched for what goes wrong."""
