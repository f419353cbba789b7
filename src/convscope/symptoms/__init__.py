"""Symptoms in words: a sentence becomes ranked causes, and torch's messages become sentences about the user's layers.

No model and no network access: a table of symptoms with the phrases that people use, and the causes that studies of real
faulty programs found behind them. Nothing is run here; `convscope check` looks at evidence.
"""
