-- The way back forgets which works were erased: events of them that come later are stored again.
DROP TABLE erased_works, reverts, last_words, reconciled;
