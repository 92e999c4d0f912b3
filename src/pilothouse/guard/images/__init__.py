"""What is in images: packages and other finds (`inventory`), vulnerability data (`data`), what applies (`match`)."""
