import {
  IconAlertOctagon, IconAlertTriangle, IconArrowBackUp, IconBan, IconCircleCheck, IconCircleDashed, IconCircleX, IconClockPause,
  IconEye, IconHelpCircle, IconInbox, IconLoader, IconMailForward, IconPlayerPause, IconPlayerPlay, IconPlayerSkipForward,
  IconPlayerStop, IconPlugConnected, IconPlugConnectedX, IconRefresh, IconSettingsCheck,
} from '@tabler/icons-react'
import type { Icon } from '@tabler/icons-react'

export type Tone = 'ok' | 'busy' | 'warn' | 'bad' | 'idle'

export interface StateWord {
  word: string
  tone: Tone
  icon: Icon
  // One sentence for whoever does not know the word.
  means: string
}

// The one vocabulary of states.
const words: Record<string, Record<string, StateWord>> = {
  host: {
    online: { word: 'Online', tone: 'ok', icon: IconPlugConnected, means: 'The agent is connected.' },
    offline: { word: 'Offline', tone: 'bad', icon: IconPlugConnectedX, means: 'The agent is not connected; what is shown is what it said last.' },
    invited: { word: 'Invited', tone: 'busy', icon: IconMailForward, means: 'A token was made; the agent has not come yet.' },
    revoked: { word: 'Revoked', tone: 'idle', icon: IconBan, means: 'The certificate of the agent is no longer accepted.' },
  },
  instance: {
    running: { word: 'Running', tone: 'ok', icon: IconPlayerPlay, means: 'The server accepts connections.' },
    starting: { word: 'Starting', tone: 'busy', icon: IconLoader, means: 'The server starts or recovers and does not accept connections yet.' },
    creating: { word: 'Creating', tone: 'busy', icon: IconCircleDashed, means: 'An operation is making it.' },
    stopped: { word: 'Stopped', tone: 'idle', icon: IconPlayerStop, means: 'The server was shut down in order.' },
    crashed: { word: 'Crashed', tone: 'bad', icon: IconAlertOctagon, means: 'The server is gone without an orderly shutdown.' },
    missing: { word: 'Missing', tone: 'bad', icon: IconCircleX, means: 'The data directory is no longer there.' },
    unknown: { word: 'Unknown', tone: 'warn', icon: IconHelpCircle, means: 'The agent could not tell.' },
  },
  management: {
    discovered: { word: 'Discovered', tone: 'busy', icon: IconEye, means: 'Seen by the agent, not managed yet. Adopt it to run operations on it.' },
    managed: { word: 'Managed', tone: 'idle', icon: IconSettingsCheck, means: 'Created or adopted by pgdrover.' },
    ignored: { word: 'Ignored', tone: 'idle', icon: IconBan, means: 'Left alone on purpose.' },
  },
  operation: {
    accepted: { word: 'Accepted', tone: 'busy', icon: IconInbox, means: 'Written down; it starts in a moment.' },
    waiting: { word: 'Waiting', tone: 'warn', icon: IconClockPause, means: 'Another operation holds what this one needs.' },
    running: { word: 'Running', tone: 'busy', icon: IconLoader, means: 'Its steps are being carried out.' },
    paused: { word: 'Paused', tone: 'warn', icon: IconPlayerPause, means: 'It stopped between two steps and waits for a person.' },
    succeeded: { word: 'Succeeded', tone: 'ok', icon: IconCircleCheck, means: 'All steps are done.' },
    failed: { word: 'Failed', tone: 'bad', icon: IconAlertOctagon, means: 'A step failed for good.' },
    canceled: { word: 'Canceled', tone: 'idle', icon: IconBan, means: 'A person stopped it.' },
  },
  step: {
    running: { word: 'Running', tone: 'busy', icon: IconLoader, means: 'Being carried out.' },
    retrying: { word: 'Retrying', tone: 'warn', icon: IconRefresh, means: 'The attempt before failed; another one follows.' },
    completed: { word: 'Completed', tone: 'ok', icon: IconCircleCheck, means: 'Done.' },
    failed: { word: 'Failed', tone: 'bad', icon: IconAlertOctagon, means: 'It failed for good.' },
    canceled: { word: 'Canceled', tone: 'idle', icon: IconBan, means: 'Stopped before its end.' },
  },
  run: {
    running: { word: 'Running', tone: 'busy', icon: IconLoader, means: 'The run has not ended.' },
    succeeded: { word: 'Succeeded', tone: 'ok', icon: IconCircleCheck, means: 'The run did its work.' },
    failed: { word: 'Failed', tone: 'bad', icon: IconAlertOctagon, means: 'The run failed.' },
    skipped: { word: 'Skipped', tone: 'idle', icon: IconPlayerSkipForward, means: 'The run before had not ended.' },
  },
  schedule: {
    active: { word: 'Active', tone: 'ok', icon: IconPlayerPlay, means: 'It runs at its times.' },
    paused: { word: 'Paused', tone: 'warn', icon: IconPlayerPause, means: 'It does not run until it is resumed.' },
  },
  audit: {
    accepted: { word: 'Accepted', tone: 'ok', icon: IconInbox, means: 'The operation was admitted.' },
    done: { word: 'Done', tone: 'ok', icon: IconCircleCheck, means: 'The change was made.' },
    refused: { word: 'Refused', tone: 'warn', icon: IconBan, means: 'The person may not do this.' },
    failed: { word: 'Failed', tone: 'bad', icon: IconAlertOctagon, means: 'It was tried and failed.' },
  },
  risk: {
    read: { word: 'Reads only', tone: 'idle', icon: IconEye, means: 'Changes nothing.' },
    change: { word: 'Changes', tone: 'busy', icon: IconSettingsCheck, means: 'Changes something, disturbs nobody.' },
    disrupt: { word: 'Disrupts', tone: 'warn', icon: IconAlertTriangle, means: 'Sessions may be ended or kept waiting.' },
    destroy: { word: 'Destroys', tone: 'bad', icon: IconAlertOctagon, means: 'Something is lost and does not come back.' },
  },
  undone: {
    'nothing-to-undo': { word: 'Nothing to undo', tone: 'idle', icon: IconCircleCheck, means: 'No step had changed anything.' },
    compensated: { word: 'Undone', tone: 'ok', icon: IconArrowBackUp, means: 'What the steps had changed was put back.' },
    partly: { word: 'Partly undone', tone: 'bad', icon: IconAlertTriangle, means: 'Some of what had changed could not be put back. Look at the undo steps.' },
    'past-point-of-no-return': { word: 'Not undone', tone: 'warn', icon: IconAlertTriangle, means: 'It had gone too far to be undone; retry it to finish.' },
  },
}

export type Vocabulary = 'host' | 'instance' | 'management' | 'operation' | 'step' | 'run' | 'schedule' | 'audit' | 'risk' | 'undone'

export function stateWord(kind: Vocabulary, state: string): StateWord {
  return words[kind]?.[state] ?? { word: state || 'Unknown', tone: 'idle', icon: IconHelpCircle, means: '' }
}

export function statesOf(kind: Vocabulary): { value: string; label: string }[] {
  return Object.entries(words[kind] ?? {}).map(([value, { word }]) => ({ value, label: word }))
}

// A host is known by its state until it is enrolled, then by whether its agent is there.
export function hostState(host: { state: string; online: boolean }): string {
  if (host.state !== 'enrolled') return host.state
  return host.online ? 'online' : 'offline'
}
