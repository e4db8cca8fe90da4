CREATE TEMPORARY TABLE customer (id integer PRIMARY KEY, name text NOT NULL, city integer NOT NULL);
CREATE TEMPORARY TABLE purchase (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY, customer integer NOT NULL REFERENCES customer, cents integer NOT NULL
);
INSERT INTO customer SELECT i, 'customer ' || i, i * 7919 % 50 FROM generate_series(1, 2000) AS i;
INSERT INTO purchase (customer, cents) SELECT 1 + i * 104729::bigint % 2000, 1 + i * 7919 % 9999 FROM generate_series(1, 10000) AS i;
CREATE INDEX customer_of_city ON customer (city);
CREATE INDEX purchase_of_customer ON purchase (customer);
ANALYZE customer, purchase;
