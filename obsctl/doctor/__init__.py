"""What would stop a deploy or leave it blind: a check is a function and a row in the table."""
