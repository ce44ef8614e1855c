"""The report: static pages from the records, with the credit of rules on sampled answers, for a browser."""
