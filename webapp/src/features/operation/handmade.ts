// Operations that have a page of their own instead of the derived dialog.
export const handMadePages: Record<string, '/instances/new'> = {
  'instance-create': '/instances/new',
}
