"""Spam detection: bags of words and tf-idf, three naive Bayes against logistic regression and linear SVMs."""
