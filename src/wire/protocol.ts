/**
 * Every constant of `docs/protocol.md`: bounds, the window before HELLO, kinds of payload.
 *
 * @module
 */
