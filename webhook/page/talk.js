// The talk page: joins a room as a caller, plays the agent, and shows its state, both levels and the times.
// What was measured is in window.roompool, for tests and for the curious.
"use strict";

(() => {
  const { Room, RoomEvent, Track, ParticipantKind, DisconnectReason, createLocalAudioTrack } = window.LivekitClient;

  // Front-ends in general give up on an agent after 20 seconds.
  const agentLateMs = () => Number(document.body.dataset.agentLateMs);
  const LISTEN_EVERY_MS = 20;
  const AUDIBLE_DBFS = -50;
  const FLOOR_DBFS = -60;

  const STATE = { state: "lk.agent.state", onBehalf: "lk.publish_on_behalf" };

  const AGENT_WORDS = {
    connecting: ["Connecting", "The agent is on its way."],
    initializing: ["Connecting", "The agent is getting ready."],
    idle: ["Idle", "The agent is there."],
    listening: ["Listening", "Say something."],
    thinking: ["Thinking", "One moment."],
    speaking: ["Speaking", "You may interrupt."],
  };

  const $ = (id) => document.getElementById(id);
  const ui = {
    room: $("room"), simulated: $("simulated"), state: $("state"), hint: $("hint"), problem: $("problem"),
    talk: $("talk"), mute: $("mute"), hangup: $("hangup"), meters: $("meters"), facts: $("facts"),
    agentLevel: $("agent-level"), ownLevel: $("own-level"),
    connected: $("connected"), seen: $("seen"), heard: $("heard"), clock: $("clock"),
  };

  // Milliseconds from the start of joining; null until it happened. Levels are root mean square, 0 to 1.
  const fresh = () => ({
    phase: "idle", room: null, identity: null, simulated: null, agent_state: null, agents: 0, agents_max: 0,
    connected_ms: null, agent_seen_ms: null, heard_ms: null, level: 0, peak_level: 0, own_peak_level: 0, problem: null,
  });
  const seen = (window.roompool = fresh());

  let call = null; // the call that is on, or null

  // ---- showing

  function show(phase, title, hint) {
    seen.phase = phase;
    document.body.dataset.phase = phase;
    if (ui.state.textContent !== title) ui.state.textContent = title;
    ui.hint.textContent = hint;
  }

  function complain(text, command) {
    seen.problem = text;
    ui.problem.replaceChildren(text);
    if (command) {
      const code = document.createElement("code");
      code.textContent = command;
      ui.problem.append(code);
    }
    ui.problem.hidden = false;
  }

  function stopComplaining() {
    seen.problem = null;
    ui.problem.hidden = true;
  }

  function showCall(on) {
    ui.talk.hidden = on;
    ui.hangup.hidden = ui.mute.hidden = ui.meters.hidden = !on;
    if (on) ui.facts.hidden = ui.room.hidden = false;
  }

  function showFact(cell, ms) {
    cell.textContent = ms === null ? "–" : `${ms} ms`;
  }

  function showLevel(bar, level) {
    const dbfs = Math.max(FLOOR_DBFS, 20 * Math.log10(level || 1e-6));
    const part = 1 - dbfs / FLOOR_DBFS;
    bar.style.setProperty("--level", part.toFixed(3));
    bar.setAttribute("aria-valuenow", Math.round(dbfs));
    return part;
  }

  // ---- hearing

  // A function that gives the level of a media track now, and one to stop.
  function listen(audio, track) {
    const source = audio.createMediaStreamSource(new MediaStream([track]));
    const analyser = audio.createAnalyser();
    analyser.fftSize = 1024;
    source.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    return {
      level() {
        analyser.getFloatTimeDomainData(samples);
        let squares = 0;
        for (const sample of samples) squares += sample * sample;
        return Math.sqrt(squares / samples.length);
      },
      stop: () => source.disconnect(),
    };
  }

  function measure(on) {
    const own = on.own && !on.muted ? on.own.level() : 0;
    let agent = 0;
    for (const ear of on.ears.values()) agent = Math.max(agent, ear.level());
    seen.level = agent;
    seen.peak_level = Math.max(seen.peak_level, agent);
    seen.own_peak_level = Math.max(seen.own_peak_level, own);
    if (seen.heard_ms === null && 20 * Math.log10(agent || 1e-6) > AUDIBLE_DBFS) {
      seen.heard_ms = since(on);
      showFact(ui.heard, seen.heard_ms);
    }
    showLevel(ui.ownLevel, own);
    document.body.style.setProperty("--level", showLevel(ui.agentLevel, agent).toFixed(3));
    const s = Math.floor((performance.now() - on.beganAt) / 1000);
    ui.clock.textContent = `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
  }

  const since = (on) => Math.round(performance.now() - on.beganAt);

  // ---- the agent

  const isAgent = (participant) =>
    participant.kind === ParticipantKind.AGENT && !participant.attributes[STATE.onBehalf];

  function lookForAgent(on) {
    const agents = [...on.room.remoteParticipants.values()].filter(isAgent);
    seen.agents = agents.length;
    seen.agents_max = Math.max(seen.agents_max, agents.length);
    if (!agents.length) {
      seen.agent_state = "connecting";
      document.body.dataset.agent = "connecting";
      const left = seen.agent_seen_ms !== null;
      show("waiting", left ? "Agent left" : "Connecting", left ? "Another one may take over." : "The agent is on its way.");
      return;
    }
    if (seen.agent_seen_ms === null) {
      seen.agent_seen_ms = since(on);
      showFact(ui.seen, seen.agent_seen_ms);
    }
    clearTimeout(on.late);
    stopComplaining();
    const state = agents[0].attributes[STATE.state] || "connecting";
    const [title, hint] = AGENT_WORDS[state] || [state, ""];
    seen.agent_state = state;
    document.body.dataset.agent = state;
    show("talking", title, hint);
  }

  // ---- the call

  async function talk() {
    Object.assign(seen, fresh());
    stopComplaining();
    for (const cell of [ui.connected, ui.seen, ui.heard, ui.clock]) cell.textContent = "–";
    ui.talk.disabled = true;
    show("joining", "Microphone", "Please allow it.");
    const on = { ears: new Map(), own: null, muted: false, room: null, audio: null, microphone: null, beganAt: 0 };
    call = on;
    try {
      await join(on);
    } catch (error) {
      if (call === on) {
        end(on, "Talk to the agent", "");
        complain(...explain(error, on));
      }
    }
    ui.talk.disabled = false;
  }

  async function join(on) {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new Error("insecure");
    on.audio = new AudioContext();
    await on.audio.resume();
    // The echo of the agent would interrupt it; the voice service does its own noise handling.
    on.microphone = await step("microphone", () =>
      createLocalAudioTrack({ echoCancellation: true, noiseSuppression: false, autoGainControl: true }),
    );
    on.own = listen(on.audio, on.microphone.mediaStreamTrack);

    show("joining", "Connecting", "Joining the room.");
    const ticket = await step("token", fetchTicket);
    on.ticket = ticket;
    Object.assign(seen, { room: ticket.room, identity: ticket.identity, simulated: Boolean(ticket.simulated) });
    ui.room.querySelector("b").textContent = ticket.room;
    ui.simulated.hidden = !ticket.simulated;

    on.room = new Room({ adaptiveStream: false, dynacast: false });
    watch(on);
    on.beganAt = performance.now();
    showCall(true);
    ui.hangup.focus();
    on.timer = setInterval(() => measure(on), LISTEN_EVERY_MS);
    await step("room", () => on.room.connect(ticket.url, ticket.token));
    if (call !== on) return; // hung up meanwhile
    seen.connected_ms = since(on);
    showFact(ui.connected, seen.connected_ms);
    on.late = setTimeout(() => {
      complain(`No agent has come for ${agentLateMs() / 1000} seconds. Ask why:`, `roompool why ${ticket.room}`);
    }, agentLateMs());
    lookForAgent(on);
    await step("publish", () => on.room.localParticipant.publishTrack(on.microphone, { source: Track.Source.Microphone }));
    await on.room.startAudio();
  }

  // Name the step that failed, so that the message can say what to do.
  async function step(name, run) {
    try {
      return await run();
    } catch (error) {
      throw Object.assign(error instanceof Error ? error : new Error(String(error)), { step: name });
    }
  }

  async function fetchTicket() {
    const asked = new URLSearchParams(location.search).get("room");
    const answer = await fetch(asked ? `token?room=${encodeURIComponent(asked)}` : "token", { cache: "no-store" });
    const ticket = await answer.json().catch(() => ({}));
    if (!answer.ok) throw Object.assign(new Error("refused"), { told: ticket.error || `status ${answer.status}` });
    return ticket;
  }

  function watch(on) {
    const look = () => call === on && lookForAgent(on);
    on.room
      .on(RoomEvent.ParticipantConnected, look)
      .on(RoomEvent.ParticipantDisconnected, look)
      .on(RoomEvent.ParticipantAttributesChanged, look)
      .on(RoomEvent.TrackSubscribed, (track, _publication, participant) => {
        if (track.kind !== Track.Kind.Audio) return;
        // Chromium gives no sound to an analyser unless an element plays the track as well.
        document.body.append(track.attach());
        if (isAgent(participant)) on.ears.set(track.sid, listen(on.audio, track.mediaStreamTrack));
      })
      .on(RoomEvent.TrackUnsubscribed, (track) => {
        for (const element of track.detach()) element.remove();
        on.ears.get(track.sid)?.stop();
        on.ears.delete(track.sid);
      })
      .on(RoomEvent.Reconnecting, () => show("waiting", "Reconnecting", "The connection was lost; one moment."))
      .on(RoomEvent.Reconnected, look)
      .on(RoomEvent.Disconnected, (reason) => {
        if (call !== on || seen.phase === "joining") return; // hung up here, or join() tells what failed
        end(on, "Call ended", "");
        complain(`The room closed the connection (${DisconnectReason[reason] || "no reason given"}).`);
      });
  }

  function end(on, title, hint) {
    call = null;
    clearInterval(on.timer);
    clearTimeout(on.late);
    for (const ear of on.ears.values()) ear.stop();
    on.ears.clear();
    on.room?.disconnect();
    on.microphone?.stop();
    on.audio?.close();
    for (const element of document.querySelectorAll("body > audio")) element.remove();
    document.body.style.setProperty("--level", "0");
    delete document.body.dataset.agent;
    seen.agents = 0;
    seen.level = 0;
    setMute(null, false);
    showCall(false);
    show("idle", title, hint);
    ui.talk.textContent = "Talk";
  }

  function hangUp() {
    if (!call) return;
    end(call, "Call ended", seen.heard_ms === null ? "The agent was not heard." : `The agent was heard after ${seen.heard_ms} ms.`);
    ui.talk.textContent = "Talk again";
    ui.talk.focus();
  }

  function setMute(on, muted) {
    ui.mute.setAttribute("aria-pressed", String(muted));
    ui.mute.textContent = muted ? "Muted" : "Mute";
    if (!on) return;
    on.muted = muted;
    if (muted) on.microphone.mute();
    else on.microphone.unmute();
  }

  // What went wrong and what to do, for a person: a sentence and, where one helps, a command.
  function explain(error, on) {
    if (error.message === "insecure") {
      return ["Browsers give the microphone only to pages on https:// or on this machine. Open this page as http://127.0.0.1 or http://localhost."];
    }
    if (error.step === "microphone") {
      if (error.name === "NotAllowedError") return ["The microphone was not allowed. Allow it in the address bar, then talk again."];
      if (error.name === "NotFoundError") return ["No microphone was found. Plug one in, then talk again."];
      return [`The microphone cannot be used (${error.name}). Another program may hold it.`];
    }
    if (error.step === "token") {
      return error.told ? [`No token: ${error.told}.`] : ["The receiver that serves this page does not answer. Is it still running?"];
    }
    if (error.step === "room") return [`LiveKit cannot be reached at ${on.ticket.url}, or refuses the token. Is it running?`];
    return [`Something went wrong (${error.name}).`];
  }

  ui.talk.addEventListener("click", talk);
  ui.hangup.addEventListener("click", hangUp);
  ui.mute.addEventListener("click", () => call?.microphone && setMute(call, !call.muted));
  window.addEventListener("pagehide", () => call?.room?.disconnect());

  const asked = new URLSearchParams(location.search).get("room");
  if (asked) {
    ui.room.querySelector("b").textContent = asked;
    ui.room.hidden = false;
  }
})();
