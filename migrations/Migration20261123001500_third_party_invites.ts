import { Migration } from '@mikro-orm/migrations';

/** Addresses outside Matrix: whose they are, and invitations of people of whom nothing else is known. */
export class Migration20261123001500_third_party_invites extends Migration {
  override up(): void {
    // Addresses are kept as they are compared: case-folded.
    this.addSql(`create table account_threepids (
      medium text not null,
      address text not null,
      user_id text not null references accounts on delete cascade,
      validated_ts bigint not null,
      added_ts bigint not null,
      primary key (medium, address)
    )`);
    this.addSql(`create index account_threepids_user on account_threepids (user_id)`);

    // A row is there from before its event is sent until the invitation is redeemed or has come to nothing. claimed_by is set together
    // with the row of account_threepids that makes it due.
    this.addSql(`create table third_party_invites (
      token text primary key,
      medium text not null,
      address text not null,
      room_id text not null,
      inviter text not null,
      ephemeral_key text not null unique,
      sent boolean not null default false,
      claimed_by text,
      created_ts bigint not null
    )`);
    this.addSql(`create index third_party_invites_address on third_party_invites (medium, address)`);
  }

  override down(): void {
    this.addSql(`drop table third_party_invites`);
    this.addSql(`drop table account_threepids`);
  }
}
