"""Speech: recordings read from files, their log-mel features, random views of them, encoders, and speaker verification."""
