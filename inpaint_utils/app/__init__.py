"""The command and the web page for people with photos; no lesson imports from here."""
