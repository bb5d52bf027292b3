import AloftModel
import SimulatedHypervisor

// What goes wrong at a moment, and how it ends.

extension World {
  func take(_ mishap: Mishap) async throws {
    trace.note("mishap: \(mishap.kind) \(mishap)")
    trace.count(mishap.kind)
    let now = clock.now().uptime
    switch mishap {
    case .agentKilled(let node, let down):
      nodes[node].host.crashAgent()
      nodes[node].downUntil = max(nodes[node].downUntil, now + down)
    case .replicaKilled(let replica, let down): if cluster.isUp(replica) { cluster.kill(replica, down: down) }
    case .databaseForgets: try await observer.forgetUnlogged()
    case .nodeUnreachable(let node, let time):
      nodes[node].link.cutOff(true)
      heals.append((now + time, "node \(node) unreachable", { $0.nodes[node].link.cutOff(false) }))
    case .libvirtDown(let node, let time):
      nodes[node].host.faults.isUnavailable = true
      heals.append((now + time, "libvirt down on \(node)", { $0.bringLibvirtBack(node) }))
    case .hostReboots(let node, let down):
      nodes[node].host.losesPower()
      nodes[node].downUntil = max(nodes[node].downUntil, now + down)
    case .clockSet(let node, let time): nodes[node].clock.shiftWall(by: time)
    case .diskFull(let node, let time):
      nodes[node].host.faults.diskIsFull = true
      heals.append((now + time, "disk full on \(node)", { $0.nodes[node].host.faults.diskIsFull = false }))
    case .downloadsFail(let node, let time):
      nodes[node].link.failDownloads(true)
      nodes[node].host.forgetImages()
      heals.append((now + time, "downloads fail on \(node)", { $0.nodes[node].link.failDownloads(false) }))
    case .qemuKilled(let vm): onGuest(vm) { $0.guestCrashes($1) }
    case .guestPowersOff(let vm):
      onGuest(vm) { host, id in
        if host.domain(id)?.power.isActive == true { self.ledger.entries[vm]?.guestWentOff += 1 }
        host.guestPowersOff(id)
      }
    case .guestPaused(let vm): onGuest(vm) { $0.guestPauses($1, .ioError) }
    case .domainDestroyed(let vm): onGuest(vm) { $0.destroyDomain($1) }
    case .domainUndefined(let vm): onGuest(vm) { $0.removeDomain($1) }
    case .ovnDown(let node, let time):
      setOVN(node, down: true)
      heals.append((now + time, "OVN down on \(node)", { $0.setOVN(node, down: false) }))
    }
  }

  private func onGuest(_ vm: Int, _ body: (SimulatedHost, VMID) -> Void) {
    guard let id = ledger.entries[vm]?.id else { return }
    for node in nodes where node.host.domain(id) != nil {
      trace.count("a guest was hit")
      body(node.host, id)
    }
  }

  private func setOVN(_ node: Int, down: Bool) {
    nodes[node].host.faults.portsAreMissing = down
    nodes[node].host.faults.networksAreBroken = down
  }

  private func bringLibvirtBack(_ node: Int) {
    nodes[node].host.faults.isUnavailable = false
    nodes[node].host.hypervisorRestarts()
  }

  /// Everything that is broken gets well, and nothing goes wrong any more.
  func heal() throws {
    isHealed = true
    trace.note("the faults stop")
    for heal in heals { heal.heal(self) }
    heals = []
    cluster.setCommitTrouble(0)
    cluster.setHoldUp(0)
    for index in nodes.indices {
      set(Weather(), on: index)
      nodes[index].downUntil = 0
    }
    for replica in 0..<Cluster.size where !cluster.isUp(replica) { try cluster.restart(replica) }
  }
}
