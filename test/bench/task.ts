/** What every side creates, again and again. */
export const NEW_TASK = {
  title: 'Water the plants',
  description: 'All of them, also those behind the door',
  priority: 'high',
  tags: ['garden', 'weekly'],
}
