"""The report: a folder of HTML pages that needs no network, with pictures and a three-plane viewer of every organ."""
