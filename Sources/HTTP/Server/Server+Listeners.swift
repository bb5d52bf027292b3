import Glibc

extension Server {
  /// Serves one more socket, which listens already and does not block; it is closed with the server or by
  /// ``stopListening(name:)``. Requests that come by it have `name` as ``Peer/listener``.
  ///
  /// For sockets that only their owner can make, such as those of another network namespace. Throws ``ServerError/notRunning``,
  /// and closes the socket then.
  public func listen(on socket: Int32, name: String) async throws(ServerError) {
    let listener = state.withLock { state -> Listener? in
      guard state.stage == .running, let loop = state.loops.first else { return nil }
      let listener = Listener(
        socket: socket, tls: nil, unixPath: nil, name: name, service: service, loop: loop, loops: state.loops)
      state.listeners.append(listener)
      return listener
    }
    guard let listener else {
      close(socket)
      throw .notRunning
    }
    await listener.start()
  }

  /// Stops serving the sockets of this name; connections that are open go on.
  public func stopListening(name: String) async {
    let ended = state.withLock { state in
      let ended = state.listeners.filter { $0.name == name }
      state.listeners.removeAll { $0.name == name }
      return ended
    }
    for listener in ended { await listener.stop() }
  }
}
