"""An application service made with mautrix: its bot joins where it is invited, and a ghost of its says what is said there once more."""
import argparse
import asyncio
import json
import logging

from mautrix.appservice import AppService
from mautrix.appservice.state_store import ASStateStore
from mautrix.client.state_store.memory import MemoryStateStore
from mautrix.types import EventType, Membership, MessageType, TextMessageEventContent


class Rooms(ASStateStore, MemoryStateStore):
    def __init__(self) -> None:
        ASStateStore.__init__(self)
        MemoryStateStore.__init__(self)

    async def find_shared_rooms(self, user_id):
        return [
            room
            for room, members in self.members.items()
            if user_id in members and await self.is_encrypted(room)
        ]


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("homeserver")
    parser.add_argument("registration")
    parser.add_argument("port", type=int)
    parser.add_argument("--encrypt", action="store_true")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    with open(args.registration) as file:
        registration = json.load(file)
    rooms = Rooms()
    az = AppService(
        id=registration["id"],
        domain="test",
        server=args.homeserver,
        as_token=registration["as_token"],
        hs_token=registration["hs_token"],
        bot_localpart=registration["sender_localpart"],
        state_store=rooms,
        ephemeral_events=True,
        encryption_events=args.encrypt,
    )
    machine = None

    async def answer(room_id, text: str) -> None:
        content = TextMessageEventContent(msgtype=MessageType.NOTICE, body=f"echo: {text}")
        if machine is not None and await rooms.is_encrypted(room_id):
            members = await rooms.get_members(room_id, (Membership.JOIN, Membership.INVITE))
            await machine.share_group_session(room_id, list(members))
            encrypted = await machine.encrypt_megolm_event(room_id, EventType.ROOM_MESSAGE, content)
            await az.intent.send_message_event(room_id, EventType.ROOM_ENCRYPTED, encrypted)
            return
        ghost = az.intent.user("@_mau_ghost:test")
        await ghost.set_displayname("Ghost")
        await ghost.ensure_joined(room_id, bot=az.intent)
        await ghost.set_typing(room_id, timeout=5_000)
        await ghost.send_message(room_id, content)
        await ghost.set_typing(room_id, timeout=0)

    @az.matrix_event_handler
    async def handle(event) -> None:
        if event.type == EventType.TYPING:
            print(f"typing in {event.room_id}: {event.content.user_ids}", flush=True)
        elif event.type == EventType.RECEIPT:
            print(f"receipt in {event.room_id}", flush=True)
        elif event.type == EventType.ROOM_MEMBER and event.content.membership == Membership.INVITE:
            if event.state_key == az.bot_mxid:
                await az.intent.join_room(event.room_id)
                await az.intent.get_room_members(event.room_id)
                await az.intent.get_state(event.room_id)
                print(f"joined {event.room_id}", flush=True)
        elif event.type == EventType.ROOM_MEMBER and machine is not None:
            await machine.handle_member_event(event)
        elif event.type == EventType.ROOM_ENCRYPTED and machine is not None:
            if event.sender == az.bot_mxid:
                return
            from mautrix.errors import SessionNotFound

            try:
                decrypted = await machine.decrypt_megolm_event(event)
            except SessionNotFound as error:
                await machine.wait_for_session(event.room_id, error.session_id, timeout=30)
                decrypted = await machine.decrypt_megolm_event(event)
            print(f"decrypted {decrypted.content.body}", flush=True)
            await answer(event.room_id, decrypted.content.body)
        elif event.type == EventType.ROOM_MESSAGE and event.content.msgtype == MessageType.TEXT:
            await answer(event.room_id, event.content.body)

    await az.start(host="127.0.0.1", port=args.port)
    await az.intent.ensure_registered()
    print(f"ping took {await az.ping_self('meow')} ms", flush=True)
    if args.encrypt:
        from mautrix.client import Client
        from mautrix.crypto import MemoryCryptoStore, OlmMachine

        client = Client(base_url=args.homeserver, mxid=az.bot_mxid, state_store=rooms)
        client.api.token = az.as_token
        await client.create_device_msc4190(device_id="", initial_display_name="Echo")
        store = MemoryCryptoStore("echo", "pickle")
        await store.open()
        await store.put_device_id(client.device_id)
        machine = OlmMachine(client, store, rooms)
        await machine.load()
        az.otk_handler = machine.handle_as_otk_counts
        az.device_list_handler = machine.handle_as_device_lists
        az.to_device_handler = machine.handle_as_to_device_event
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
