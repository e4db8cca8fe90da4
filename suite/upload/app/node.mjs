// Takes a form with files, and answers with each file's size and digest, computed as the bytes arrive.
import { createHash } from 'node:crypto';
import busboy from 'busboy';

const FILE_BYTES_MAX = 16 * 1024 * 1024;

function answer(response, status, value) {
  const body = JSON.stringify(value);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

export default function upload(request, response) {
  const fields = {};
  const files = [];
  let form;
  try {
    form = busboy({ headers: request.headers, limits: { fileSize: FILE_BYTES_MAX, files: 10, fields: 10 } });
  } catch (error) {
    answer(response, 400, { error: error.message });
    return;
  }
  form.on('field', (name, value) => {
    fields[name] = value;
  });
  form.on('file', (field, stream, { filename }) => {
    const digest = createHash('sha256');
    let bytes = 0;
    stream.on('data', (data) => {
      digest.update(data);
      bytes += data.length;
    });
    stream.on('end', () => files.push({ field, filename, bytes, sha256: digest.digest('hex') }));
  });
  form.on('error', (error) => answer(response, 400, { error: error.message }));
  form.on('close', () => answer(response, 200, { fields, files }));
  request.pipe(form);
}
