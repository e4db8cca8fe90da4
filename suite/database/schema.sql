CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city INTEGER NOT NULL);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer, cents INTEGER NOT NULL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO customer SELECT i, 'customer ' || i, i * 7919 % 50 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
INSERT INTO purchase SELECT i, 1 + i * 104729 % 2000, 1 + i * 7919 % 9999 FROM n;
CREATE INDEX customer_of_city ON customer (city);
CREATE INDEX purchase_of_customer ON purchase (customer);
