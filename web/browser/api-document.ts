/** A description of an API with one operation. */
import type { Document } from '../src/lib/openapi';

export const apiDocument: Document = {
  info: { title: 'guard-server', version: '2.0.0', description: '' },
  tags: [{ name: 'Views', description: '' }],
  paths: {
    '/api/v1/projects/{project}/views': {
      post: {
        operationId: 'add_view',
        tags: ['Views'],
        summary: 'Saves a view.',
        parameters: [
          { name: 'project', in: 'path', required: true, example: 'my shop' },
          { name: 'kind', in: 'query', required: true, example: 'a b' },
          { name: 'limit', in: 'query', example: 5 },
        ],
        requestBody: {
          content: { 'application/json': { schema: { $ref: '#/components/schemas/View' } } },
        },
        responses: { 400: { description: 'Bad.' }, 200: { description: 'Good.' } },
        security: [{ token: ['operator'] }, { session: ['operator'] }],
      },
    },
  },
  components: {
    schemas: {
      Range: { type: 'object', required: ['from'], properties: { from: { type: 'string' } } },
      View: {
        example: { name: "Anna's" },
        allOf: [
          { $ref: '#/components/schemas/Range' },
          {
            properties: {
              ends: { oneOf: [{ type: 'null' }, { $ref: '#/components/schemas/Range' }] },
              at: { type: ['string', 'null'], format: 'date-time' },
              names: { type: 'array', items: { type: 'string' } },
            },
          },
        ],
      },
    },
  },
};
