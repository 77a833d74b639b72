import LinuxSupport
import MachineRuntime

// Templates: one VM is booted to its pool's ready point and frozen. It is in no table of VMs, and no client ever has it.

/// What the VMs of a pool are cloned from.
struct PoolTemplate: Sendable {
  let template: any ManagedTemplate
  /// Making, booting and freezing the VM.
  let bootNS: UInt64
}

extension Fleet {
  /// Makes the VM and starts it. From then on no thread waits: `finish` is called when the boot has ended, well or not.
  func begin(_ boot: TemplateBoot) {
    let beganNS = MonotonicClock.now()
    let configuration = configuration(
      of: boot.creation.specification, name: "tpl-" + boot.creation.name, deadlineNS: nil)
    do throws(MachineCreationError) {
      let machine = try factory.make(configuration) { [weak boot] state in
        if case .stopped(let stop) = state { boot?.settle(.stopped(stop)) }
      }
      boot.start(machine, beganNS: beganNS)
    } catch {
      end(boot, .failure(.creation(error)))
    }
  }

  /// Freezes a VM that has come to its ready point, and destroys it in any case.
  func finish(_ boot: TemplateBoot) {
    let result = boot.freeze()
    boot.release()
    end(boot, result)
  }

  private func end(_ boot: TemplateBoot, _ result: Result<PoolTemplate, TemplateFailure>) {
    let creation = boot.creation
    // Not under the lock: a console is read for it.
    let detail: String? = if case .failure(let failure) = result { "\(failure)" } else { nil }
    update { tables, now in
      tables.boots[creation.revision] = nil
      switch result {
      case .success(let template):
        if tables.ledger.booted(creation, now: now) { tables.templates[creation.revision] = template }
      case .failure:
        tables.ledger.failed(creation, detail ?? "", now: now, jitter: Double.random(in: 0...1))
      }
    }
  }
}
