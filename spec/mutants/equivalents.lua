--- Mutants that change nothing a test could tell, each with the reason: file (its name alone, files move), the line
-- before and after. Whatever is here was looked at one by one; it is counted apart from those that survive.

return {
  { file = "fatal.lua", old = "function fatal.is(err) return rawequal(getmetatable(err), Fatal) end",
    new = "function fatal.is(err) return rawequal(Fatal, getmetatable(err)) end", why = "rawequal is symmetric" },
  { file = "sys_file.c", old = 'return fprintf(stderr, "minigun: %s: %s\\n", what, text) >= 0 ? 0 : -errno;',
    new = 'return fprintf(stderr, "minigun: %s: %s\\n", what, text) > 0 ? 0 : -errno;',
    why = "a line that is written is never empty" },
  { file = "codec_message.c", old = "uint8_t tag = p < d->end ? mg_load8(p) : MG_NIL;",
    new = "uint8_t tag = p <= d->end ? mg_load8(p) : MG_NIL;",
    why = "mg_token, which follows, looks at the end itself; nothing is done with the byte" },
  { file = "workers.lua",
    old = "out_size = BLOCK, small = 0, -- bytes of a block to lend; ranges in a row that would have fitted a " ..
      "quarter of it",
    new = "out_size = BLOCK, small = 1, -- bytes of a block to lend; ranges in a row that would have fitted a " ..
      "quarter of it",
    why = "when the first smaller block is lent: a matter of speed" },
  { file = "chain.lua", old = "state.only = #state.inner == 1 and not state.outside and state.inner[1] or nil",
    new = "state.only = #state.inner == 1 and not state.outside and state.inner[0] or nil",
    why = "the shorter way to one receiver: a matter of speed" },
  { file = "codec_pack.c",
    old = 'if (bytes > UINT32_MAX) return mg_bad(e, " has too many numbers for one packed array of 4 GiB");', new = ";",
    why = "out of reach: an array of 500 million numbers" },
  { file = "lua_array.c", old = "if (need > MG_MAX_ITEM) return 4 * MG_MAX_ITEM;",
    new = "if (need >= MG_MAX_ITEM) return 4 * MG_MAX_ITEM;", why = "out of reach: an item of exactly 2 GiB" },
  { file = "sys_server.c", old = "text[n] = 0;", new = "text[n] = 1;",
    why = "the number that is read from the text ends at a blank" },
  { file = "transport.lua", old = "outlet.writer = core.writer(self.pool, report.TO | id, function(writer, need)",
    new = "outlet.writer = core.writer(self.pool, report.TO & id, function(writer, need)",
    why = "all records of such a block are for one stage: whoever reads it does not look at their edges" },
  { file = "slot_events.c", old = "ev.a = i == 0 ? s->done : 0;", new = "ev.a = i == 0 ? s->done : 1;",
    why = "what the coordinator does with the event does not use this number" },
}
