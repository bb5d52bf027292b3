import Foundation
import OVSDB

extension NorthboundWriter {
  private static let globalTable = "NB_Global"
  /// In NB_Global: whose transactions may be written.
  private static let markKey = "aloft-writer"

  /// How many operations ``guards(_:)`` are.
  static let guardCount = 2

  /// What stands in front of each transaction: the lock may have been lost and won again between making it and its being
  /// carried out, with another writer between.
  func guards(_ mark: UUID) -> [OVSDB.Operation] {
    [
      .assert(lock: Self.lockName),
      .wait(
        table: Self.globalTable,
        where: [Condition("external_ids", .includes, .map([Self.markKey: mark.text]))], columns: ["name"],
        until: .notEqual, rows: []),
    ]
  }

  func begin(_ lock: DatabaseLock, mark: UUID) async throws(NorthboundError) {
    let set: [OVSDB.Operation] = [
      .assert(lock: Self.lockName),
      .mutate(
        table: Self.globalTable, where: [],
        mutations: [
          Mutation("external_ids", .delete, .strings([Self.markKey])),
          Mutation("external_ids", .insert, .map([Self.markKey: mark.text])),
        ]),
    ]
    let insert: [OVSDB.Operation] = [
      .assert(lock: Self.lockName),
      .insert(table: Self.globalTable, row: ["external_ids": .map([Self.markKey: mark.text])]),
    ]
    do throws(OVSDBError) {
      if try await client.transact(set).last?.matchedCount == 0 {
        // Nobody has used this database before; OVN fills in the rest. Unless it is just about to make the row itself: there
        // cannot be two.
        do throws(OVSDBError) {
          try await client.transact(insert)
        } catch {
          guard error.fault?.code == .constraintViolation else { throw error }
          try await client.transact(set)
        }
      }
    } catch {
      throw NorthboundError(error)
    }
    term = Term(mark: mark)
    watch { [weak self] in
      for await status in lock.statuses where status != .held { break }
      await self?.endTerm(mark)
    }
    logger.info("Aloft writes OVN's northbound database here now")
  }

  /// Begins to put right what others change. The first batch is everything.
  func watchRows(_ mark: UUID) {
    guard term?.watchesRows == false else { return }
    term?.watchesRows = true
    let replica = replica
    watch { [weak self] in
      do throws(OVSDBError) {
        for try await batch in replica.changes {
          guard let self, await self.repair(batch.rows, mark) else { return }
        }
      } catch {
        await self?.endTerm(mark)
      }
    }
  }

  private func watch(_ body: @escaping @Sendable () async -> Void) {
    term?.watchers.append(Task(operation: body))
  }

  func endTerm(_ mark: UUID) {
    if term?.mark == mark { endTerm() }
  }

  func endTerm() {
    guard let ended = term else { return }
    term = nil
    ended.sending?.cancel()
    for watcher in ended.watchers { watcher.cancel() }
    for listener in ended.listeners { listener.finish() }
    logger.info("Aloft does not write OVN's northbound database here any more")
  }
}
