import { Button, Group, Modal, Stack, TextInput } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { faultsByField } from '@/api/problem'
import { LabelsInput } from './Labels'
import { ProblemAlert } from './ProblemAlert'

interface Naming {
  name: string
  labels: Record<string, string>
}

interface Props {
  title: string
  initial: Naming
  save: (value: Naming) => Promise<unknown>
  onClose: () => void
}

// EditDialog changes what people give an object: its name and its labels.
export function EditDialog({ title, initial, save, onClose }: Props) {
  const [name, setName] = useState(initial.name)
  const [labels, setLabels] = useState(initial.labels)
  const mutation = useMutation({ mutationFn: () => save({ name: name.trim(), labels }), onSuccess: onClose })
  const faults = faultsByField(mutation.error)
  return (
    <Modal opened onClose={onClose} title={title}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          mutation.mutate()
        }}
      >
        <Stack gap={16}>
          {mutation.isError && <ProblemAlert error={mutation.error} title="It was not saved" />}
          <TextInput label="Name" value={name} onChange={(event) => setName(event.currentTarget.value)} required withAsterisk={false} error={faults.name} data-autofocus />
          <LabelsInput value={labels} onChange={setLabels} error={faults.labels} />
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={mutation.isPending}>
              Save
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
