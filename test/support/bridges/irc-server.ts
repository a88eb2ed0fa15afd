import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/** Somebody who is connected. */
interface Client {
  readonly socket: Socket;
  nick: string;
  isKnown: boolean;
}

/** An IRC server on the loopback interface that knows as much of IRC as talking in channels takes (RFC 2812). */
export class IrcServer {
  readonly #server: Server;
  readonly #clients = new Set<Client>();
  readonly #channels = new Map<string, Set<Client>>();
  /** What was said: who, where, what. */
  readonly said: (readonly [nick: string, target: string, text: string])[] = [];

  private constructor() {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(): Promise<IrcServer> {
    const server = new IrcServer();
    await new Promise<void>((resolve) => {
      server.#server.listen(0, '127.0.0.1', resolve);
    });
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The nicknames of those who are logged in. */
  get nicks(): string[] {
    return Array.from(this.#clients, ({ isKnown, nick }) => (isKnown ? nick : '')).filter((nick) => nick !== '');
  }

  /** The nicknames in a channel. */
  in(channel: string): string[] {
    return Array.from(this.#channels.get(channel) ?? [], ({ nick }) => nick);
  }

  /** Says something in a channel in the name of somebody who is not connected. */
  say(nick: string, channel: string, text: string): void {
    this.#tell(channel, `:${nick}!user@host PRIVMSG ${channel} :${text}`);
  }

  async stop(): Promise<void> {
    for (const { socket } of this.#clients) socket.destroy();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  #serve(socket: Socket): void {
    const client: Client = { socket, nick: '*', isKnown: false };
    this.#clients.add(client);
    let text = '';
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#clients.delete(client);
      for (const members of this.#channels.values()) members.delete(client);
    });
    socket.on('data', (chunk) => {
      const lines = `${text}${chunk.toString()}`.split(/\r?\n/);
      text = lines.pop() ?? '';
      for (const line of lines) this.#take(client, line);
    });
  }

  #take(client: Client, line: string): void {
    const [head = '', ...rest] = line.split(' :');
    const [command = '', ...words] = head.trim().split(/\s+/);
    const parameters = rest.length === 0 ? words : [...words, rest.join(' :')];
    const [first = '', second = ''] = parameters;
    switch (command.toUpperCase()) {
      case 'CAP':
        if (first === 'LS' || first === 'REQ')
          this.#send(client, `:irc.test CAP ${client.nick} ${first === 'LS' ? 'LS' : 'NAK'} :`);
        return;
      case 'NICK': {
        const before = client.nick;
        client.nick = first;
        if (client.isKnown) this.#send(client, `:${before}!user@host NICK :${first}`);
        return;
      }
      case 'USER':
        client.isKnown = true;
        for (const welcome of [
          `001 ${client.nick} :Welcome`,
          `002 ${client.nick} :Your host is irc.test`,
          `003 ${client.nick} :Created today`,
          `004 ${client.nick} irc.test 1 i n`,
          `005 ${client.nick} CHANTYPES=# PREFIX=(ov)@+ NETWORK=Test :are supported by this server`,
          `422 ${client.nick} :No message of the day`,
        ])
          this.#send(client, `:irc.test ${welcome}`);
        return;
      case 'PING':
        this.#send(client, `:irc.test PONG irc.test :${first}`);
        return;
      case 'JOIN': {
        const members = this.#channels.get(first) ?? new Set();
        this.#channels.set(first, members.add(client));
        this.#tell(first, `:${client.nick}!user@host JOIN ${first}`);
        const names = ['carol', ...Array.from(members, ({ nick }) => nick)].join(' ');
        this.#send(client, `:irc.test 353 ${client.nick} = ${first} :${names}`);
        this.#send(client, `:irc.test 366 ${client.nick} ${first} :End of names`);
        return;
      }
      case 'MODE':
        if (first.startsWith('#')) this.#send(client, `:irc.test 324 ${client.nick} ${first} +n`);
        return;
      case 'PRIVMSG':
        this.said.push([client.nick, first, second]);
        this.#tell(first, `:${client.nick}!user@host PRIVMSG ${first} :${second}`, client);
        return;
      case 'WHO':
        this.#send(client, `:irc.test 315 ${client.nick} ${first} :End of who`);
        return;
      default:
    }
  }

  #send({ socket }: Client, line: string): void {
    socket.write(`${line}\r\n`);
  }

  #tell(channel: string, line: string, but?: Client): void {
    for (const client of this.#channels.get(channel) ?? []) if (client !== but) this.#send(client, line);
  }
}
