import AloftModel

extension AgentMachine {
  mutating func takeNetworkEvent(_ event: NetworkEvent, _ now: AgentTime) {
    switch event {
    case .portsChanged:
      for vm in order where vms[vm]?.devices.heldSince != nil { touch(.vm(vm)) }
    case .reportChanged:
      // The node's report goes with its next sign of life.
      heartbeat.at = min(heartbeat.at, now.uptime)
    }
  }

  /// Tells which VMs have NICs, when that has changed. Nothing is told before all of them are known: whoever is not among
  /// them is disconnected.
  mutating func connect(_ effects: inout [AgentEffect]) {
    guard isSynchronized, connectionsChanged else { return }
    connectionsChanged = false
    let documents = order.compactMap { vm in
      vms[vm]?.document.flatMap { $0.deleted || $0.nics?.isEmpty != false ? nil : $0 }
    }
    guard documents != connected else { return }
    connected = documents
    connections += 1
    effects.append(.connect(number: connections, documents))
  }
}
