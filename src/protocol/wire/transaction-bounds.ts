/** "Must not include more than 50 PDUs", "more than 100 EDUs". Server-Server API, `PUT /send/{txnId}`. */
export const MAX_PDUS = 50;
export const MAX_EDUS = 100;
