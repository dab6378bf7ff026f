/** The URL of the node, such as `http://127.0.0.1:8080`: serve.mjs puts it in. */
declare const NODE: string;
