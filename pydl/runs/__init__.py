"""What the commands that train and use a model share: data and models by name, files of runs, answers, exchange."""
