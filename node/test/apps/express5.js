'use strict';
// Express with the middleware that wraps responses.
const compression = require('compression');
const express = require(process.env.EXPRESS ?? 'express');
const session = require('express-session');
const morgan = require('morgan');

const app = express();
app.set('trust proxy', true);
app.use(morgan(':method :url :status :remote-addr'));
app.use(compression({ threshold: 100 }));
app.use(session({ secret: 's', resave: false, saveUninitialized: true }));
app.get('/hello', (req, res) => res.send('hello'));
app.get('/json', (req, res) => res.json({ hello: 'world', q: req.query.q, ip: req.ip, secure: req.secure, host: req.hostname }));
app.post('/echo', express.json({ limit: '5mb' }), (req, res) => res.json(req.body));
app.get('/stream', (req, res) => {
  res.type('text');
  res.write('one ');
  setTimeout(() => {
    res.write('two ');
    res.end('three');
  }, 5);
});
app.get('/file', (req, res) => res.sendFile(__filename));
app.get('/boom', () => {
  throw new Error('boom');
});
app.get('/large', (req, res) => res.type('text').send('large '.repeat(1000)));
app.use('/nested', express.Router().get('/:id', (req, res) => res.send(`${req.baseUrl} ${req.params.id}`)));
app.listen(3000);
