import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { ProblemAlert } from './ProblemAlert'

interface Props {
  title: string
  // What happens, in a sentence or two.
  children: ReactNode
  // What the button says.
  verb: string
  // The name to be typed for what cannot be taken back.
  name?: string
  run: () => Promise<unknown>
  onClose: () => void
}

// ConfirmDialog asks before what is not an operation but cannot be taken back.
export function ConfirmDialog({ title, children, verb, name, run, onClose }: Props) {
  const [typed, setTyped] = useState('')
  const mutation = useMutation({ mutationFn: run, onSuccess: onClose })
  return (
    <Modal opened onClose={onClose} title={title}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          mutation.mutate()
        }}
      >
        <Stack gap={16}>
          <Text component="div">{children}</Text>
          {mutation.isError && <ProblemAlert error={mutation.error} />}
          {name !== undefined && (
            <TextInput label={`Type ${name} to confirm`} value={typed} onChange={(event) => setTyped(event.currentTarget.value)} autoComplete="off" spellCheck={false} data-autofocus />
          )}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" color="red" loading={mutation.isPending} disabled={name !== undefined && typed !== name}>
              {verb}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
