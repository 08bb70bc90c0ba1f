"""Where an autoencoder may be: folders, the Hugging Face hub, remote storage."""
