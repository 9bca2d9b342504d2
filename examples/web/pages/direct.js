// A data channel of WebRTC between two pages. The broker carries offer, answer and candidates, and nothing afterwards.

/** How many candidates are kept that come before the offer has been accepted. */
const EARLY_MAX = 50;

export class Direct {
  #signal;
  #hooks;
  // For each user with whom there is or will be a channel.
  #peers = new Map();

  /**
   * `signal(user, kind, body)` sends one; `onOffer(user)` asks whether to accept; `onState(user, state)` with `closed`,
   * `connecting` or `open`; `onText(user, text)`.
   */
  constructor(signal, hooks) {
    this.#signal = signal;
    this.#hooks = hooks;
  }

  state(user) {
    const peer = this.#peers.get(user);
    if (!peer?.connection) return 'closed';
    return peer.channel?.readyState === 'open' ? 'open' : 'connecting';
  }

  async call(user) {
    const peer = this.#begin(user);
    this.#use(user, peer, peer.connection.createDataChannel('chat'));
    await peer.connection.setLocalDescription();
    this.#signal(user, 'offer', JSON.stringify(peer.connection.localDescription));
  }

  async accept(user) {
    const offered = this.#peers.get(user);
    if (!offered?.offer) return;
    const peer = this.#begin(user);
    peer.connection.ondatachannel = ({ channel }) => this.#use(user, peer, channel);
    await peer.connection.setRemoteDescription(offered.offer);
    for (const candidate of offered.early) await peer.connection.addIceCandidate(candidate);
    await peer.connection.setLocalDescription();
    this.#signal(user, 'answer', JSON.stringify(peer.connection.localDescription));
  }

  hangUp(user) {
    this.#signal(user, 'bye', '');
    this.#end(user);
  }

  /** False if there is no open channel. */
  send(user, text) {
    if (this.state(user) !== 'open') return false;
    this.#peers.get(user).channel.send(text);
    return true;
  }

  /** A signal that another page sent. */
  async take(user, kind, body) {
    const peer = this.#peers.get(user);
    if (kind === 'offer') {
      if (peer?.connection) this.#end(user);
      this.#peers.set(user, { offer: JSON.parse(body), early: [] });
      this.#hooks.onOffer(user);
    } else if (kind === 'bye') {
      this.#end(user);
    } else if (kind === 'answer' && peer?.connection?.signalingState === 'have-local-offer') {
      await peer.connection.setRemoteDescription(JSON.parse(body));
      for (const candidate of peer.early.splice(0)) await peer.connection.addIceCandidate(candidate);
    } else if (kind === 'candidate' && peer) {
      const candidate = JSON.parse(body);
      if (peer.connection?.remoteDescription) await peer.connection.addIceCandidate(candidate);
      else if (peer.early.length < EARLY_MAX) peer.early.push(candidate);
    }
  }

  #begin(user) {
    // Without servers that help through routers: on one network, this is enough.
    const connection = new RTCPeerConnection();
    const peer = { connection, early: [] };
    this.#peers.set(user, peer);
    connection.onicecandidate = ({ candidate }) => {
      if (candidate) this.#signal(user, 'candidate', JSON.stringify(candidate));
    };
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === 'failed' && this.#peers.get(user) === peer) this.#end(user);
    };
    this.#hooks.onState(user, 'connecting');
    return peer;
  }

  #use(user, peer, channel) {
    peer.channel = channel;
    const tell = () => this.#hooks.onState(user, this.state(user));
    channel.onopen = tell;
    channel.onclose = () => this.#peers.get(user) === peer && this.#end(user);
    channel.onmessage = ({ data }) => this.#hooks.onText(user, String(data));
    if (channel.readyState === 'open') tell();
  }

  #end(user) {
    const peer = this.#peers.get(user);
    this.#peers.delete(user);
    peer?.connection?.close();
    this.#hooks.onState(user, 'closed');
  }
}
